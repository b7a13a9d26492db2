"""All task types, and how a name is looked up."""

from __future__ import annotations

from collections.abc import Sequence

from spartanc.errors import UsageError
from spartanc.runtime_py.task_types.classification import CLASSIFICATION
from spartanc.runtime_py.task_types.multilabel import MULTILABEL
from spartanc.runtime_py.task_types.regression import REGRESSION
from spartanc.runtime_py.task_types.task_type import TaskType

TASK_TYPES: dict[str, TaskType] = {each.name: each for each in (CLASSIFICATION, REGRESSION, MULTILABEL)}


def find_task_type(name: str) -> TaskType:
    """The task type that files call `name`; UsageError where there is none."""
    try:
        return TASK_TYPES[name]
    except KeyError:
        raise UsageError(f"problem `{name}` is not one of {', '.join(TASK_TYPES)}") from None


def task_type_of(name: str, labels: Sequence[str], thresholds: Sequence[float] = ()) -> TaskType:
    """The task type of a model with these classes and thresholds; UsageError where there can be no such model."""
    task_type = find_task_type(name)
    wrong = task_type.wrong_labels(labels)
    if wrong is not None:
        raise UsageError(f"has {len(labels)} `labels` for {name}: {wrong}")
    wrong = task_type.wrong_thresholds(thresholds, labels)
    if wrong is not None:
        raise UsageError(f"has no valid `thresholds`: {wrong}")
    return task_type.with_thresholds(thresholds, labels)
