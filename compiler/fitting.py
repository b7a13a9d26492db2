"""What the int8 form of a backbone is fitted to, and which of its linears stay in fp32.

Inputs of linears are evened out and weights rounded by second-order information (`even_inputs`, `round_weights`). If
that loses more than one label in 200 on the texts, those linears stay in fp32 that make the most noise for their size:
as few as it takes, and no more than make a program a twentieth larger. Only the texts that eager is least sure of are
tried, which are the ones that flip. A fleet's tasks share one backbone, fitted to the texts of all.

A task that was trained in the arithmetic of int8 knows weights that are rounded to the nearest; fitted ones suit it
better all the same (film: eager's label on 99.3% of the test texts with the ones, 99.6% with the others), since noise
is chaotic and what training teaches is to bear it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import Node
from torch.nn.functional import linear

from spartanc.base.schemes.none import NONE
from spartanc.base.schemes.scheme import Scheme
from spartanc.base.targets.target import Target
from spartanc.passes.calibration import Inputs, run_with, stored_linears, stored_weights
from spartanc.passes.keep_linears import KeepLinears, Weights
from spartanc.passes.ops.linear_int8 import rounded_inputs
from spartanc.passes.protocol import PassReport
from spartanc.runtime_py.task_types.task_type import TaskType

MOST_TOKENS = 4096  # of all tasks together; more fit no better and take longer
FEWEST_TOKENS = 512  # of fewer, weights are rounded to the nearest: they would fit these texts alone
LABELS_KEPT = 0.995  # share of the texts' labels that is aimed at
FEW_TEXTS = 200  # of fewer, one label may be lost
DOUBTFUL = 64  # texts that labels are compared on
MEASURED = 8  # of them, that every linear's own noise is measured on
MOST_KEPT = 1 / 60  # share of the program's weights: a kept one takes 3 bytes more, so a program grows by a twentieth


@dataclass(frozen=True)
class TextsToFit:
    """Inputs of a program, by what they are for.

    inputs: what numbers are fitted to. doubtful: those whose labels eager is least sure of, each with its `Decision`;
    none for a regression. classes: most that a task has; a program's first outputs are its logits, whatever follows
    them. may_lose: how many of these texts may get other labels.
    """

    inputs: Inputs
    doubtful: Inputs = ()
    decisions: Sequence[Decision] = ()
    classes: int = 0
    may_lose: int = 0


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


def texts_to_fit(tasks: Sequence[TextsOfTask]) -> TextsToFit | None:
    """What to fit a backbone to that these tasks share; None where texts are too few."""
    inputs = [row for task in tasks for row in _up_to(task.inputs, MOST_TOKENS // len(tasks))]
    if sum(given[0].shape[1] for given in inputs) < FEWEST_TOKENS:
        return None
    classed = [task for task in tasks if task.task_type.has_classes and len(task.inputs)]
    rows = sorted((row for task in classed for row in _doubted(task)), key=lambda each: each[0])[:DOUBTFUL]
    texts = sum(len(task.inputs) for task in classed)
    may_lose = max(1, int(texts * (1 - LABELS_KEPT))) if texts < FEW_TEXTS else int(texts * (1 - LABELS_KEPT))
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


def linears_to_keep(exact: ExportedProgram, rounded: ExportedProgram, texts: TextsToFit) -> dict[str, Weights]:
    """Weights of the linears of `exact` that have to stay in fp32, by their names in the graph; none as a rule.

    rounded: the same program with its weights on their grids. Those linears are taken first that make the most noise
    for their size, as few of them as labels ask for and bytes allow, and none that win no label.
    """
    before = _labels_lost(rounded, texts, {})
    if before <= texts.may_lose:
        return {}
    weights = {node.name: stored_weights(exact, node) for node in stored_linears(exact)}
    noise = _noise_of_each(exact, rounded, texts)
    left = MOST_KEPT * sum(tensor.numel() for tensor in (*exact.state_dict.values(), *exact.constants.values()))
    affordable: list[str] = []
    for name in sorted(weights, key=lambda name: -noise[name] / weights[name][0].numel()):
        if weights[name][0].numel() <= left:
            affordable.append(name)
            left -= weights[name][0].numel()
    lost = [before]
    for count in range(1, len(affordable) + 1):
        kept = {name: weights[name] for name in affordable[:count]}
        lost.append(_labels_lost(rounded, texts, kept))
        if lost[-1] <= texts.may_lose:
            break
    best = lost.index(min(lost))  # the fewest of equal ones
    return {name: weights[name] for name in affordable[:best]}


def costs_of_kept(reports: Sequence[PassReport], target: Target, scheme: Scheme, length: int) -> list[dict[str, Any]]:
    """`kept_fp32`: each linear's name in the graph and size, its bytes more, and modelled milliseconds more.

    The time is that of one text of `length` tokens on one core at the limits of its multipliers and its memory.
    """
    kept = [each for report in reports if report.name == KeepLinears.name for each in report.notes["kept"]]
    peaks, hertz = target.peak_macs_per_cycle, target.clock_mhz * 1e6
    found = []
    for each in kept:
        weights = each["outputs"] * each["inputs"]
        more = weights * (4 - 4 // scheme.fp32_weights_in_one)
        slower = weights * length * (1 / peaks[NONE.peak] - 1 / peaks[scheme.peak]) / hertz
        found.append({**each, "bytes": more, "modelled_ms": 1e3 * (slower + more / (target.memory_gb_per_s * 1e9))})
    return found


def _labels_lost(rounded: ExportedProgram, texts: TextsToFit, kept: Mapping[str, Weights]) -> int:
    def compute(node: Node, x: Tensor) -> Tensor:
        if node.name in kept:
            return linear(x, *kept[node.name])
        return linear(rounded_inputs(x), *stored_weights(rounded, node))

    found = run_with(rounded, dict.fromkeys(stored_linears(rounded), compute), texts.doubtful)
    return sum(not decision.agrees(logits) for logits, decision in zip(found, texts.decisions, strict=True))


def _noise_of_each(exact: ExportedProgram, rounded: ExportedProgram, texts: TextsToFit) -> dict[str, float]:
    """Mean square of what logits move by when one linear alone is rounded; apart from all alike, where that does not
    change which class a text is given.
    """
    inputs, decisions = texts.doubtful[:MEASURED], texts.decisions[:MEASURED]
    wanted = run_with(exact, {}, inputs)
    on_grid = {node.name: stored_weights(rounded, node) for node in stored_linears(rounded)}

    def compute(node: Node, x: Tensor) -> Tensor:
        return linear(rounded_inputs(x), *on_grid[node.name])

    noise = {}
    for node in stored_linears(exact):
        found = run_with(exact, {node: compute}, inputs)
        moved = [(one - other)[..., : texts.classes] for one, other in zip(found, wanted, strict=True)]
        told = [
            each if decision.task_type.several else each - each.mean()
            for each, decision in zip(moved, decisions, strict=True)
        ]
        noise[node.name] = sum(float(each.square().mean()) for each in told) / len(told)
    return noise
