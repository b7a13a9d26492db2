"""Runs passes in order and checks each one: order, properties and numerics."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from torch.export import ExportedProgram

from spartanc.errors import CompileError
from spartanc.passes.properties import PassProperty
from spartanc.passes.protocol import GraphPass, PassReport

# What holds of a program, each property with the pass that provided it and can check it.
Promises = Mapping[PassProperty, GraphPass]


def check_order(passes: Iterable[GraphPass], given: Promises | None = None) -> dict[PassProperty, GraphPass]:
    """What holds after `passes`, if each finds what it requires; needs no model.

    given: what holds before them. Raises CompileError naming the pass and what it lacks.
    """
    holds = dict(given or {})
    for each in passes:
        missing = each.requires - holds.keys()
        if missing:
            raise CompileError(f"pass `{each.name}` needs {_names(missing)}, which no pass before it provides")
        holds = _after(each, holds)
    return holds


def run_passes(
    program: ExportedProgram,
    passes: Sequence[GraphPass],
    rows: Sequence[tuple[np.ndarray, ...]],
    given: Promises | None = None,
    scale: float = 1.0,
) -> tuple[ExportedProgram, list[PassReport]]:
    """Run `passes` over `program`, comparing the outputs on `rows` before and after each.

    given: what holds of `program` already; it is checked again after every pass, as what the passes provide is.
    scale: the size of outputs below which tolerances are absolute, 1 for logits, ten deviations of a regression's
    scores. Raises CompileError if the order is wrong, if a property does not hold, or if a pass moved a result by more
    than its tolerance.
    """
    check_order(passes, given)
    promised = dict(given or {})
    reports = []
    before = _outputs(program, rows)
    for each in passes:
        program, report = each.run(program)
        promised = _after(each, promised)
        check_promises(program, promised, f"after pass `{each.name}`")
        if report.changes and math.isfinite(each.tolerance):
            after = _outputs(program, rows)
            _compare(each, before, after, scale)
            before = after
        elif report.changes:
            before = _outputs(program, rows)
        reports.append(report)
    return program, reports


def check_promises(program: ExportedProgram, promised: Promises, when: str) -> None:
    """Raise CompileError naming the first property that does not hold of `program`; `when` begins the message."""
    for name, keeper in promised.items():
        wrong = keeper.holds(program)
        if wrong is not None:
            raise CompileError(f"{when}, `{name}` does not hold: {wrong}")


def _after(each: GraphPass, holds: Promises) -> dict[PassProperty, GraphPass]:
    kept = {name: keeper for name, keeper in holds.items() if name not in each.breaks}
    return kept | dict.fromkeys(each.provides, each)


def _outputs(program: ExportedProgram, rows: Sequence[tuple[np.ndarray, ...]]) -> list[torch.Tensor]:
    module = program.module()
    with torch.no_grad():
        found = [module(*(torch.from_numpy(part) for part in row)) for row in rows]
    return [
        each[0] if isinstance(each, tuple) else each for each in found
    ]  # a shared program gives its logits in a tuple


def _compare(each: GraphPass, before: list[torch.Tensor], after: list[torch.Tensor], scale: float) -> None:
    for number, (old, new) in enumerate(zip(before, after, strict=True), 1):
        moved = (old - new).abs().max().item()
        # Rounding goes with the size of what is rounded: logits of 800 move more than logits of 1.
        allowed = each.tolerance * max(scale, old.abs().max().item())
        if not moved <= allowed:  # NaN is not
            raise CompileError(
                f"pass `{each.name}` moved the result of input {number} by {moved:.3g}, it may move it by"
                f" {allowed:.3g}",
                hint="this is a defect of spartanc: please report it with the model's shape",
            )


def _names(names: Iterable[PassProperty]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(map(str, names)))
