"""The modelled time of one inference of a bundle's program on its target."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from spartanc.base.targets.target import Target
from spartanc.runtime_py.board_model.counting import Emulation
from spartanc.runtime_py.board_model.parameters import find_board
from spartanc.runtime_py.board_model.timing import Modelled, modelled
from spartanc.runtime_py.board_model.tools import require_tools
from spartanc.runtime_py.devices.device import Row


def emulation_of(target: Target, root: Path) -> Emulation:
    """qemu as `target`, whose programs see `root`; MissingToolError where the model has no such board."""
    assert target.qemu_cpu is not None
    return Emulation(target.qemu_cpu, root, find_board(target.name).caches)


def model_inference(
    command: Path, program: Path, row: Row, target: Target, root: Path, more: Sequence[str] = ()
) -> Modelled:
    """One warm inference of `row` on one core, by `command`, which is `spartan` for aarch64.

    Raises MissingToolError where a tool or the board is missing, CompileError where the program fails.
    """
    require_tools()
    counts = emulation_of(target, root).run_warm(command, program, row, more)
    return modelled(counts, find_board(target.name))
