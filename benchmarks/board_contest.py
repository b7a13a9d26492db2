"""Whose inference board_model.py judges: our programs, ONNX Runtime's, the recipe's and an older commit's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from board_setup import PYTHON, SITE, arm_root

from spartanc.base.targets.catalogue import find_target
from spartanc.runtime_py.board_model.blocks import Counts
from spartanc.runtime_py.board_model.inference import emulation_of
from spartanc.runtime_py.board_model.parameters import find_board
from spartanc.runtime_py.board_model.timing import Modelled, modelled
from spartanc.runtime_py.devices.board_root import board_root
from spartanc.runtime_py.devices.device import Row

EMULATED = Path(__file__).parent / "emulated"  # scripts for the aarch64 Python
VOCABULARY = (1000, 30000)
BOARDS = ("rpi3", "rpi4", "rpi5")
ARITHMETIC = {"fp32": "none", "int8": "int8"}  # quantisation, by the name that ratios have
MAX_LENGTH = 128
RUNTIME = "runtime"


@dataclass(frozen=True)
class Contestant:
    """One program of one maker (ours, onnx, recipe or an older commit's name) on one board at one length."""

    maker: str
    arithmetic: str
    board: str
    length: int
    program: Path = field(compare=False)
    runtime: Path = field(compare=False)

    @property
    def name(self) -> str:
        return f"{self.arithmetic}_{self.maker}_{self.board}_{self.length}"

    def by(self, maker: str) -> Contestant:
        """The same inference by another maker, for comparing."""
        return replace(self, maker=maker)


def ours(folder: Path, arithmetic: str, board: str) -> Path:
    """Where py puts our program for `board`."""
    return folder / f"ours_{arithmetic}_{board}.pte"


def recipe(folder: Path, arithmetic: str) -> Path:
    return folder / f"recipe_{arithmetic}.pte"


def onnx(folder: Path, arithmetic: str) -> Path:
    return folder / f"onnx_{arithmetic}.onnx"


def contestants(
    folder: Path, older: dict[str, Path], boards: Sequence[str], lengths: Sequence[int], arithmetic: Sequence[str]
) -> list[Contestant]:
    """All that there are programs for, in the order that tables have."""
    runtime, found = folder / RUNTIME, []
    for kind in arithmetic:
        for board in boards:
            for length in lengths:
                programs = {
                    "ours": (ours(folder, kind, board), runtime),
                    "onnx": (onnx(folder, kind), runtime),
                    "recipe": (recipe(folder, kind), runtime),
                }
                for name, tree in older.items():
                    programs[name] = (ours(tree, kind, board), tree / RUNTIME)
                found += [
                    Contestant(maker, kind, board, length, path.absolute(), its_runtime.absolute())
                    for maker, (path, its_runtime) in programs.items()
                    if path.is_file()
                ]
    return found


def judge(each: Contestant) -> Modelled:
    return modelled(counts_of(each), find_board(each.board))


def counts_of(each: Contestant) -> Counts:
    """One warm inference of `each`, counted."""
    target = find_target(each.board)
    if each.maker != "onnx":
        emulation = emulation_of(target, board_root(target))
        return emulation.run_warm(each.runtime / "spartan", each.program, random_row(each.length))
    return run_python(each.board, EMULATED / "run_onnx.py", str(each.program), str(each.length))


def run_python(board: str, script: Path, *words: str) -> Counts:
    """What a script of `emulated/` does between its marks, on the emulated board."""
    target, root = find_target(board), arm_root()
    return emulation_of(target, board_root(target, root)).run(
        [root / PYTHON, "-S", "-B", script, *words],
        marks=True,
        environment={"PYTHONHASHSEED": "0", "PYTHONPATH": str(root / SITE)},
    )


def random_row(length: int) -> Row:
    """Random ids, as run_onnx.py draws them."""
    ids = np.random.default_rng(0).integers(*VOCABULARY, (1, length), dtype=np.int64)
    return ids, np.ones_like(ids)
