"""Marks for the block counter (runtime_py/board_model/count_blocks.c): a system call that the kernel refuses.

These files are run by the emulated aarch64 Python, which has numpy and one runtime and nothing of spartanc.
"""

import contextlib
import os

START_CACHES, COUNT, FINISH = 1, 2, 3
_MARK = 0x7FFFFF00


def mark(what: int) -> None:
    with contextlib.suppress(OSError):
        os.getpgid(_MARK + what)
