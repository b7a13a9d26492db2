"""Classes, numbers or several labels: which task type the labels of a training file ask for.

Where a row has a list of labels, texts may have several, and a row with one label has a list of one.

A class is called what the file calls it: `007`, `1_1` and `+1` are names, `1` and "1" are one. Labels are numbers, and
the task a regression, only where all of them are plain decimals (an optional minus, digits, an optional point with
digits; no zero before a digit, no plus, no underscore) and either one is not whole, or more than
`MOST_CLASSES_OF_NUMBERS` distinct ones have under `FEW_ROWS` rows each on average.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from spartanc.errors import UsageError
from spartanc.runtime_py.data import Example
from spartanc.runtime_py.data.labels import NUMBER, listed, written_labels, written_sets
from spartanc.runtime_py.task_types.catalogue import TASK_TYPES
from spartanc.runtime_py.task_types.classification import CLASSIFICATION
from spartanc.runtime_py.task_types.multilabel import MULTILABEL
from spartanc.runtime_py.task_types.regression import REGRESSION
from spartanc.runtime_py.task_types.task_type import TaskType

AUTO = "auto"
MOST_CLASSES_OF_NUMBERS = 20
FEW_ROWS = 10
_PLAIN = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?")


@dataclass(frozen=True)
class Decision:
    """labels: names of the classes in the order of the logits. why: what was taken, and why, in one line."""

    task_type: TaskType
    labels: tuple[str, ...]
    why: str


def decide_task(examples: Sequence[Example], source: str | Path, problem: str = AUTO) -> Decision:
    """The task type called `problem`, or by `auto` the one that the labels of a training file ask for.

    Raises UsageError where a label is missing or is none of that task type, and where there is no such type.
    """
    if problem not in (AUTO, *TASK_TYPES):
        raise UsageError(f"problem `{problem}` is not one of {', '.join((AUTO, *TASK_TYPES))}")
    if problem == MULTILABEL.name or (problem == AUTO and any(isinstance(each.label, tuple) for each in examples)):
        return _several(examples, source)
    written = written_labels(examples, source)
    distinct = sorted(set(written))
    reason = _why_numbers(written, distinct)
    task_type = TASK_TYPES[problem] if problem != AUTO else CLASSIFICATION if reason is None else REGRESSION
    labels = task_type.find_labels(examples, source)
    task_type.targets(examples, labels, source)
    if problem != AUTO:
        return Decision(task_type, labels, f"{problem}, as asked" + (f": {_classes(labels)}" if labels else ""))
    if reason is not None:
        return Decision(task_type, labels, f"regression: {reason}; `--problem classification` takes labels as classes")
    why = f"classification: {_classes(labels)}"
    if all(NUMBER.fullmatch(label) for label in distinct):
        why += "; `--problem regression` takes them as numbers"
    return Decision(task_type, labels, why)


def _several(examples: Sequence[Example], source: str | Path) -> Decision:
    labels = MULTILABEL.find_labels(examples, source)
    counts = [len(names) for names in written_sets(examples, source)]
    why = f"multilabel: {_classes(labels)}; {sum(counts) / len(counts):.2f} a row, {counts.count(0)} rows with none"
    if set(counts) == {1}:
        why += "; every row has one: `--problem classification` takes one a text, `--label-separator` parts a cell"
    return Decision(MULTILABEL, labels, why)


def _why_numbers(written: list[str], distinct: list[str]) -> str | None:
    """Why labels are taken as numbers; None where they are classes."""
    if not all(_PLAIN.fullmatch(label) for label in distinct):
        return None
    broken = next((label for label in written if label.partition(".")[2].strip("0")), None)
    if broken is not None:
        return f"every label is a number, and `{broken}` is not whole"
    if len(distinct) > MOST_CLASSES_OF_NUMBERS and len(written) < FEW_ROWS * len(distinct):
        return f"every label is a number, and {len(distinct)} distinct ones have {len(written)} rows"
    return None


def _classes(labels: Sequence[str]) -> str:
    return f"{len(labels)} classes, {listed(labels)}"
