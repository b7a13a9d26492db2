"""What the int8 or int4 form of a backbone is fitted to, and which of its linears stay wider.

Inputs of linears are evened out and weights rounded by second-order information (`even_inputs`, `round_weights`). If
that loses more labels on the texts than the scheme aims at (one in 200 in int8, one in 40 in int4), those linears stay
wider (in fp32 and in int8) that make the most noise for their size: as few as it takes, and no more than make a program
a twentieth larger. Only the texts that eager is least sure of are tried, which are the ones that flip. What is tried is
an emulation, and two right ones differ as much as either does from fp32: where the program itself still misses its
gate, `compile_model` asks for more of them, until it is a quarter larger. A fleet's tasks share one backbone, fitted to
the texts of all.

A task that was trained in the arithmetic of int8 knows weights that are rounded to the nearest; fitted ones suit it
better all the same (film: eager's label on 99.3% of the test texts with the ones, 99.6% with the others), since noise
is chaotic and what training teaches is to bear it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import Node
from torch.nn.functional import linear

from spartanc.base.schemes.scheme import Scheme
from spartanc.base.targets.target import Target
from spartanc.passes.calibration import Inputs, by_weight, run_with, stored_linears, stored_weights
from spartanc.passes.keep_linears import KeepLinears, Weights
from spartanc.passes.ops.linear_int8 import rounded_inputs
from spartanc.passes.protocol import PassReport
from spartanc.passes.schemes.catalogue import passes_of
from spartanc.passes.weight_grids import WeightGrid
from spartanc.runtime_py.task_types.task_type import TaskType

Form = Callable[[Tensor], Tensor]  # of a linear, from what it reads to its result

MOST_TOKENS = 4096  # of all tasks together; more fit no better and take longer
FEWEST_TOKENS = 512  # of fewer, weights are rounded to the nearest: they would fit these texts alone
FEW_TEXTS = 200  # of fewer, one label may be lost
DOUBTFUL = 64  # texts that labels are compared on
MEASURED = 8  # of them, that every linear's own noise is measured on
MOST_GROWTH = 1 / 20  # of a program, by linears that stay wider
MOST_TO_PASS = 1 / 4  # of one that was refused without them


@dataclass(frozen=True)
class TextsToFit:
    """Inputs of a program, by what they are for.

    inputs: what numbers are fitted to. doubtful: those whose labels eager is least sure of, each with its `Decision`;
    none for a regression. classes: most that a task has; a program's first outputs are its logits, whatever follows
    them. may_lose: how many of these texts may get other labels. keep_at_least: how many linears stay wider in any
    case.
    """

    inputs: Inputs
    doubtful: Inputs = ()
    decisions: Sequence[Decision] = ()
    classes: int = 0
    may_lose: int = 0
    keep_at_least: int = 0


class NothingLeft(Exception):
    """Fewer linears may stay wider than `keep_at_least` asks for: bytes do not allow more."""


@dataclass(frozen=True)
class Decision:
    """Which labels eager gives a text, bool [C], and how its task type decides that."""

    task_type: TaskType
    given_C: np.ndarray

    def agrees(self, logits: Tensor) -> bool:
        """Whether a program with these first outputs gives the text the same labels."""
        logits_C = logits.detach().numpy().reshape(-1)[: len(self.given_C)]
        given_NC = self.task_type.decide(logits_C[None])
        return given_NC is not None and bool((given_NC[0] == self.given_C).all())


@dataclass(frozen=True)
class TextsOfTask:
    """One task's texts as its program takes them, and eager's logits [N, C] for them; C is 1 for a regression."""

    inputs: Inputs
    logits_NC: np.ndarray
    task_type: TaskType


def texts_to_fit(tasks: Sequence[TextsOfTask], labels_kept: float) -> TextsToFit | None:
    """What to fit a backbone to that these tasks share; None where texts are too few.

    labels_kept: share of their labels that is aimed at.
    """
    inputs = [row for task in tasks for row in _up_to(task.inputs, MOST_TOKENS // len(tasks))]
    if sum(given[0].shape[1] for given in inputs) < FEWEST_TOKENS:
        return None
    classed = [task for task in tasks if task.task_type.has_classes and len(task.inputs)]
    rows = sorted((row for task in classed for row in _doubted(task)), key=lambda each: each[0])[:DOUBTFUL]
    texts = sum(len(task.inputs) for task in classed)
    may_lose = int(texts * (1 - labels_kept))
    may_lose = max(1, may_lose) if texts < FEW_TEXTS else may_lose
    classes = max((task.logits_NC.shape[1] for task in classed), default=0)
    doubtful, decisions = [given for _, given, _ in rows], [decision for _, _, decision in rows]
    return TextsToFit(inputs, doubtful, decisions, classes, may_lose)


def _up_to(inputs: Inputs, tokens: int) -> Inputs:
    chosen = []
    for given in inputs:
        if tokens <= 0:
            break
        chosen.append(given)
        tokens -= given[0].shape[1]
    return chosen


def _doubted(task: TextsOfTask) -> list[tuple[float, tuple[Tensor, ...], Decision]]:
    """Every text with how far it is from other labels, and what eager decides."""
    doubt_N, given_NC = task.task_type.doubt(task.logits_NC), task.task_type.decide(task.logits_NC)
    assert doubt_N is not None and given_NC is not None
    return [
        (float(doubt), given, Decision(task.task_type, given_C))
        for doubt, given, given_C in zip(doubt_N, task.inputs, given_NC, strict=True)
    ]


def linears_to_keep(
    exact: ExportedProgram, rounded: ExportedProgram, texts: TextsToFit, scheme: Scheme
) -> dict[str, Weights]:
    """Weights of the linears of `exact` that have to stay wider, by their names in the graph; none as a rule.

    rounded: the same program with its weights on the grids of `scheme`. Linears that share a weight stay wider together
    and count once. Those are taken first that make the most noise for their size, as few of them as labels ask for and
    bytes allow, and none that win no label; but for `texts.keep_at_least`. Raises NothingLeft if those are too many.
    """
    least = texts.keep_at_least
    before = _labels_lost(rounded, texts, {})
    if before <= texts.may_lose and not least:
        return {}
    wider = _WideForm.of(scheme)
    families = {linears[0].name: [node.name for node in linears] for linears in by_weight(stored_linears(exact))}
    weights = {node.name: stored_weights(exact, node) for node in stored_linears(exact)}
    noise = _noise_of_each(exact, rounded, texts)
    more = wider.scheme.bytes_a_weight - scheme.bytes_a_weight
    count = sum(tensor.numel() for tensor in (*exact.state_dict.values(), *exact.constants.values()))
    left = (MOST_TO_PASS if least else MOST_GROWTH) * scheme.bytes_a_weight / more * count
    affordable: list[str] = []
    for name in sorted(families, key=lambda name: -noise[name] / weights[name][0].numel()):
        if weights[name][0].numel() <= left:
            affordable.append(name)
            left -= weights[name][0].numel()
    if len(affordable) < least:
        raise NothingLeft
    forms = {name: wider.form(*weights[name]) for first in affordable for name in families[first]}

    def kept(count: int) -> list[str]:
        return [name for first in affordable[:count] for name in families[first]]

    lost = [before]
    for count in range(1, len(affordable) + 1):
        lost.append(_labels_lost(rounded, texts, {name: forms[name] for name in kept(count)}))
        if count >= least and lost[-1] <= texts.may_lose:
            break
    best = lost.index(min(lost[least:]), least)  # the fewest of equal ones
    return {name: weights[name] for name in kept(best)}


def kept_wider(reports: Sequence[PassReport]) -> list[dict[str, Any]]:
    """Each weight that stays wider: `linear` (the first to read it), `outputs`, `inputs`, and times `applied`."""
    return [each for report in reports if report.name == KeepLinears.name for each in report.notes["kept"]]


def costs_of_kept(reports: Sequence[PassReport], target: Target, scheme: Scheme, length: int) -> list[dict[str, Any]]:
    """Each linear that stays wider: its name in the graph and size, its bytes more, and modelled milliseconds more.

    The time is that of one text of `length` tokens on one core at the limits of its multipliers and its memory.
    """
    kept = kept_wider(reports)
    peaks, hertz, wider = target.peak_macs_per_cycle, target.clock_mhz * 1e6, scheme.wider
    found = []
    for each in kept:
        assert wider is not None, f"`{scheme.name}` keeps no linear wider"
        size = {key: each[key] for key in ("linear", "outputs", "inputs")}
        weights = each["outputs"] * each["inputs"]
        more = int(weights * (wider.bytes_a_weight - scheme.bytes_a_weight))
        slower = weights * length * (1 / peaks[wider.peak] - 1 / peaks[scheme.peak]) / hertz
        seconds = each["applied"] * (slower + more / (target.memory_gb_per_s * 1e9))
        found.append({**size, "bytes": more, "modelled_ms": 1e3 * seconds})
    return found


@dataclass(frozen=True)
class _WideForm:
    """How a linear computes that stays wider: in fp32, or its rows in 8 bits and its weights on `grid`."""

    scheme: Scheme
    grid: WeightGrid | None

    @classmethod
    def of(cls, scheme: Scheme) -> _WideForm:
        assert scheme.wider is not None, f"`{scheme.name}` keeps no linear wider"
        return cls(scheme.wider, passes_of(scheme.wider).linears)

    def form(self, weight_NK: Tensor, bias_N: Tensor | None) -> Form:
        if self.grid is None:
            return lambda x: linear(x, weight_NK, bias_N)
        rounded_NK = self.grid.rounded(weight_NK)
        return lambda x: linear(rounded_inputs(x), rounded_NK, bias_N)


def _labels_lost(rounded: ExportedProgram, texts: TextsToFit, kept: Mapping[str, Form]) -> int:
    def compute(node: Node, x: Tensor) -> Tensor:
        if node.name in kept:
            return kept[node.name](x)
        return linear(rounded_inputs(x), *stored_weights(rounded, node))

    found = run_with(rounded, dict.fromkeys(stored_linears(rounded), compute), texts.doubtful)
    return sum(not decision.agrees(logits) for logits, decision in zip(found, texts.decisions, strict=True))


def _noise_of_each(exact: ExportedProgram, rounded: ExportedProgram, texts: TextsToFit) -> dict[str, float]:
    """Mean square of what logits move by when one weight alone is rounded, by the first linear that reads it; apart
    from all alike, where that does not change which class a text is given.
    """
    inputs, decisions = texts.doubtful[:MEASURED], texts.decisions[:MEASURED]
    wanted = run_with(exact, {}, inputs)
    on_grid = {node.name: stored_weights(rounded, node) for node in stored_linears(rounded)}

    def compute(node: Node, x: Tensor) -> Tensor:
        return linear(rounded_inputs(x), *on_grid[node.name])

    noise = {}
    for linears in by_weight(stored_linears(exact)):
        found = run_with(exact, dict.fromkeys(linears, compute), inputs)
        moved = [(one - other)[..., : texts.classes] for one, other in zip(found, wanted, strict=True)]
        told = [
            each if decision.task_type.several else each - each.mean()
            for each, decision in zip(moved, decisions, strict=True)
        ]
        noise[linears[0].name] = sum(float(each.square().mean()) for each in told) / len(told)
    return noise
