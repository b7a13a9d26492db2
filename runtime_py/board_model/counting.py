"""Runs an aarch64 program under qemu with the plugin that counts blocks and simulates caches."""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from spartanc.base.cache import cache_directory
from spartanc.base.files import whole_path
from spartanc.errors import CompileError
from spartanc.runtime_py.board_model.blocks import Counts, difference, joined, read_counts
from spartanc.runtime_py.board_model.tools import EMULATOR, fixed_addresses, missing_to_count, require
from spartanc.runtime_py.devices.device import Row, without_checks, write_rows
from spartanc.runtime_py.setup_target import require_compiler

_SOURCE = Path(__file__).with_name("count_blocks.c")


@dataclass(frozen=True)
class CacheLevel:
    """A data cache of `kib` KiB in lines of 64 bytes."""

    kib: int
    ways: int


@dataclass(frozen=True)
class Emulation:
    """An emulated processor: qemu's name of it, the folder it sees as `/`, its data caches from the core outwards."""

    cpu: str
    root: Path
    caches: tuple[CacheLevel, ...]

    def run(
        self, command: Sequence[str | Path], *, marks: bool = False, environment: dict[str, str] | None = None
    ) -> Counts:
        """What `command` executed; with `marks` only what it did between its marks.

        The program gets `environment` and nothing else, and the same addresses each time: both move its stack, and with
        it what the caches hold. Raises MissingToolError, and CompileError where the program fails.
        """
        return joined(self._count(command, marks, environment))

    def _count(self, command: Sequence[str | Path], marks: bool, environment: dict[str, str] | None) -> Counts:
        require(missing_to_count(), "counting instructions")
        with tempfile.TemporaryDirectory(prefix="spartanc-") as scratch:
            out = Path(scratch) / "counts"
            plugin = f"{blocks_plugin()},out={out}" + (",marks=on" if marks else "")
            if self.caches:
                plugin += ",cache=" + ":".join(f"{level.kib}:{level.ways}" for level in self.caches)
            words = [*fixed_addresses(), EMULATOR, "-cpu", self.cpu, "-L", str(self.root), "-plugin", plugin]
            done = subprocess.run(
                [*words, *map(str, command)],
                capture_output=True,
                text=True,
                errors="replace",
                stdin=subprocess.DEVNULL,
                env={"PATH": os.environ.get("PATH", ""), **(environment or {})},
            )
            if done.returncode != 0 or not out.is_file():
                said = done.stderr.strip()[-300:] or f"exit {done.returncode}"
                raise CompileError(f"the emulated run failed: {said}")
            return read_counts(out)

    def run_warm(self, command: Path, program: Path, row: Row, more: Sequence[str] = ()) -> Counts:
        """One warm inference by `spartan run`: what two rows take beyond one.

        command: `spartan` for aarch64. more: further options of `spartan run`.
        """
        counts = []
        with tempfile.TemporaryDirectory(prefix="spartanc-") as scratch:
            ids, bare = Path(scratch) / "ids.safetensors", without_checks(program, Path(scratch))
            for rows in (1, 2):
                write_rows(ids, [row] * rows)
                # Padding is kept: a row may be padded to the least that a program takes.
                options = ["--keep-padding", "--threads", "1", *more]
                words: list[str | Path] = [command, "run", bare, "--ids", ids, *options]
                counts.append(self._count(words, marks=False, environment=None))
        return joined(difference(counts[1], counts[0]))


def blocks_plugin() -> Path:
    """The plugin, built into the cache."""
    source = _SOURCE.read_bytes()
    finished = cache_directory() / "emulation" / f"blocks-{hashlib.sha256(source).hexdigest()[:16]}.so"
    if finished.is_file():
        return finished
    with whole_path(finished) as made:
        words = [require_compiler(), "-x", "c", "-O2", "-shared", "-fPIC", "-fvisibility=hidden"]
        done = subprocess.run([*words, "-o", str(made), str(_SOURCE)], capture_output=True, text=True)
        if done.returncode != 0:
            raise CompileError(f"the block counter could not be built: {done.stderr.strip()[-300:]}")
    return finished
