"""Runs passes in order, and believes none of them: order, promises and numerics are checked every time."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch.export import ExportedProgram

from spartanc.errors import CompileError
from spartanc.passes.protocol import GraphPass, PassReport


def check_order(passes: Sequence[GraphPass], given: frozenset[str] = frozenset()) -> frozenset[str]:
    """What holds after `passes`, if each finds what it requires; needs no model.

    Raises CompileError naming the pass and what it lacks.
    """
    holds = set(given)
    for each in passes:
        missing = each.requires - holds
        if missing:
            raise CompileError(f"pass `{each.name}` needs {_names(missing)}, which no pass before it provides")
        holds = (holds - each.breaks) | each.provides
    return frozenset(holds)


def run_passes(
    program: ExportedProgram,
    passes: Sequence[GraphPass],
    rows: Sequence[tuple[np.ndarray, ...]],
    given: frozenset[str] = frozenset(),
) -> tuple[ExportedProgram, list[PassReport]]:
    """Run `passes` over `program`, comparing the outputs on `rows` before and after each.

    `given` is what holds already. Raises CompileError where the order is wrong, a pass did not do what it provides,
    or moved a result by more than its tolerance.
    """
    check_order(passes, given)
    promised: dict[str, GraphPass] = {}
    reports = []
    before = _outputs(program, rows)
    for each in passes:
        program, report = each.run(program)
        promised = {name: keeper for name, keeper in promised.items() if name not in each.breaks}
        promised |= dict.fromkeys(each.provides, each)
        for name, keeper in promised.items():
            wrong = keeper.holds(program)
            if wrong is not None:
                raise CompileError(f"after pass `{each.name}`, `{name}` does not hold: {wrong}")
        if report.changes and math.isfinite(each.tolerance):
            after = _outputs(program, rows)
            _compare(each, before, after)
            before = after
        elif report.changes:
            before = _outputs(program, rows)
        reports.append(report)
    return program, reports


def _outputs(program: ExportedProgram, rows: Sequence[tuple[np.ndarray, ...]]) -> list[torch.Tensor]:
    module = program.module()
    with torch.no_grad():
        return [module(*(torch.from_numpy(part) for part in row)) for row in rows]


def _compare(each: GraphPass, before: list[torch.Tensor], after: list[torch.Tensor]) -> None:
    for number, (old, new) in enumerate(zip(before, after, strict=True), 1):
        moved = (old - new).abs().max().item()
        # Rounding goes with the size of what is rounded: logits of 800 move more than logits of 1.
        allowed = each.tolerance * max(1.0, old.abs().max().item())
        if not moved <= allowed:  # NaN is not
            raise CompileError(
                f"pass `{each.name}` moved the result of input {number} by {moved:.3g}, it may move it by"
                f" {allowed:.3g}",
                hint="this is a defect of spartanc: please report it with the model's shape",
            )


def _names(names: set[str] | frozenset[str]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names))
