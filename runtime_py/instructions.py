"""How many instructions one answer takes on an emulated board: counted one by one, not estimated.

qemu-user runs a small plugin of ours (native/emulation/count_instructions.c) that adds up every instruction that the
program executes. One run over two rows less one over a single row leaves one answer, without the loading of the program
and the start of the process. It says what a board has to execute, not how long that takes: no cycle is counted.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from spartanc.base.cache import cache_directory
from spartanc.errors import CompileError, MissingToolError
from spartanc.runtime_py.build import NATIVE_SOURCES
from spartanc.runtime_py.devices.device import Row, write_rows
from spartanc.runtime_py.setup_target import require_compiler

EMULATOR = "qemu-aarch64"  # the static one takes no plugins
EMULATOR_PACKAGE = "qemu-user"
_SOURCE = NATIVE_SOURCES / "emulation" / "count_instructions.c"


def instructions_of_a_run(
    command: Path, program: Path, row: Row, *, cpu: str, sysroot: Path, more: Sequence[str] = ()
) -> dict[str, Any]:
    """`instructions` of one answer to `row`, with `length` and `cpu`.

    command: `spartan` for aarch64. more: further options of `spartan run`. Raises MissingToolError where qemu's dynamic
    build, which takes plugins, or a compiler is missing; CompileError where the program does not run.
    """
    emulator = shutil.which(EMULATOR)
    if emulator is None:
        raise MissingToolError(f"`{EMULATOR}` is missing", hint=f"apt-get install {EMULATOR_PACKAGE}")
    plugin = _plugin()
    counts = []
    with tempfile.TemporaryDirectory(prefix="spartanc-") as scratch:
        ids, counted = Path(scratch) / "ids.safetensors", Path(scratch) / "instructions"
        for rows in (1, 2):
            write_rows(ids, [row] * rows)
            words = [emulator, "-cpu", cpu, "-L", str(sysroot), "-plugin", f"{plugin},out={counted}", str(command)]
            words += ["run", str(program), "--ids", str(ids), "--threads", "1", *more]
            done = subprocess.run(words, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL)
            if done.returncode != 0 or not counted.is_file():
                raise CompileError(f"instructions could not be counted: {done.stderr.strip()[-300:] or 'no count'}")
            counts.append(int(counted.read_text()))
            counted.unlink()
    return {"instructions": counts[1] - counts[0], "length": int(np.asarray(row[0]).shape[1]), "cpu": cpu}


def _plugin() -> Path:
    """The plugin, built into the cache."""
    source = _SOURCE.read_bytes()
    finished = cache_directory() / "emulation" / f"count-{hashlib.sha256(source).hexdigest()[:16]}.so"
    if finished.is_file():
        return finished
    compiler = require_compiler()
    finished.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="build-", dir=finished.parent) as scratch:
        made = Path(scratch) / finished.name
        words = [compiler, "-x", "c", "-O2", "-shared", "-fPIC", "-fvisibility=hidden", "-o", str(made), str(_SOURCE)]
        done = subprocess.run(words, capture_output=True, text=True)
        if done.returncode != 0:
            raise CompileError(f"the instruction counter could not be built: {done.stderr.strip()[-300:]}")
        os.replace(made, finished)
    return finished
