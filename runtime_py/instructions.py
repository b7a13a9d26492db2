"""How many instructions one answer takes on an emulated board: counted one by one, not estimated.

qemu-user runs a plugin of ours (board_model/count_blocks.c) that counts what the program's first thread executes. One
run over two rows less one over a single row leaves one answer, without the loading of the program and the start of the
process. It says what a board has to execute, not how long that takes: no cycle is counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from spartanc.runtime_py.board_model.blocks import executed_instructions
from spartanc.runtime_py.board_model.counting import Emulation
from spartanc.runtime_py.devices.device import Row


def instructions_of_a_run(
    command: Path, program: Path, row: Row, *, cpu: str, root: Path, more: Sequence[str] = ()
) -> dict[str, Any]:
    """`instructions` of one answer to `row`, with `length` and `cpu`.

    command: `spartan` for aarch64. root: what it sees as `/`. more: further options of `spartan run`. Raises
    MissingToolError where qemu's dynamic build, which takes plugins, or a compiler is missing; CompileError where the
    program does not run.
    """
    counts = Emulation(cpu, root, ()).run_warm(command, program, row, more)
    return {"instructions": executed_instructions(counts), "length": int(np.asarray(row[0]).shape[1]), "cpu": cpu}
