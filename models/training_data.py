"""What a training reads: its rows and its development rows, and what they say of the task."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spartanc.models.holdout import hold_out
from spartanc.models.settings import TrainRequest
from spartanc.runtime_py.data import Example, count_rows, read_examples, require_texts
from spartanc.runtime_py.data.asking import have_pairs
from spartanc.runtime_py.data.counting import oddities
from spartanc.runtime_py.task_types.decision import Decision, decide_task
from spartanc.runtime_py.task_types.task_type import TaskType

Say = Callable[[str], None]


@dataclass(frozen=True)
class TaskData:
    """The rows of a task, read and checked. The training file decides how both are read.

    train_targets, eval_targets: the task type's, standardised numbers less `mean` and divided by `deviation`.
    has_pairs: whether a row has two texts.
    counts: odd rows of each file, see `count_rows`.
    held_out: in words, what was taken of the training rows where there was no development file.
    train_source, eval_source: the files of the rows, for errors.
    """

    decision: Decision
    train_examples: list[Example]
    eval_examples: list[Example]
    train_targets: Sequence[Any]
    eval_targets: Sequence[Any]
    has_pairs: bool
    counts: dict[str, dict[str, int]]
    held_out: str | None
    train_source: Path
    eval_source: Path
    mean: float = 0.0
    deviation: float = 1.0

    @property
    def task_type(self) -> TaskType:
        return self.decision.task_type

    @property
    def labels(self) -> tuple[str, ...]:
        return self.decision.labels

    @property
    def outputs(self) -> int:
        return self.task_type.outputs(self.labels)


def read_task(request: TrainRequest, say: Say = lambda line: None) -> TaskData:
    """Read what `train` is given, and `say` in a line each what the labels were taken for and which rows are odd.

    Without a development file a tenth of the training rows is held out, class by class, drawn by the seed.
    Raises UsageError, with file and line, for wrong rows, and where the development rows do not fit the training rows.
    """
    train_examples = read_examples(request.data, request.columns)
    decision = decide_task(train_examples, request.data, request.problem)
    say(decision.why)
    pairs = have_pairs(train_examples, request.data)
    counts, held_out = {"train": count_rows(train_examples)}, None
    if request.eval is None:
        seed = request.settings.seed
        train_examples, eval_examples = hold_out(train_examples, decision, seed, request.data)
        drawn = "drawn by class" if decision.task_type.has_classes else "drawn"
        held_out = f"{len(eval_examples)} of {counts['train']['rows']} rows, {drawn} with seed {seed}"
        say(f"no development file: {held_out}, are held out")
    else:
        eval_examples = read_examples(request.eval, request.columns)
        require_texts(eval_examples, pairs, request.eval, allow_empty=True)
        counts["eval"] = count_rows(eval_examples)
    for path, count in zip((request.data, request.eval), counts.values(), strict=False):
        if (odd := oddities(count)) is not None:
            say(f"{path}: {odd}")
    eval_source = request.data if request.eval is None else request.eval
    task_type, labels = decision.task_type, decision.labels
    train_targets: Sequence[Any] = task_type.targets(train_examples, labels, request.data)
    eval_targets: Sequence[Any] = task_type.targets(eval_examples, labels, eval_source)
    mean, deviation = 0.0, 1.0
    if task_type.standardised:
        mean, deviation = float(np.mean(train_targets)), float(np.std(train_targets)) or 1.0
        train_targets, eval_targets = (
            [(number - mean) / deviation for number in targets] for targets in (train_targets, eval_targets)
        )
    return TaskData(
        decision,
        train_examples,
        eval_examples,
        train_targets,
        eval_targets,
        has_pairs=pairs,
        counts=counts,
        held_out=held_out,
        train_source=request.data,
        eval_source=eval_source,
        mean=mean,
        deviation=deviation,
    )
