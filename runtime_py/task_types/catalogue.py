"""All task types, and how a name is looked up."""

from __future__ import annotations

from spartanc.errors import UsageError
from spartanc.runtime_py.task_types.classification import CLASSIFICATION
from spartanc.runtime_py.task_types.regression import REGRESSION
from spartanc.runtime_py.task_types.task_type import TaskType

TASK_TYPES: dict[str, TaskType] = {each.name: each for each in (CLASSIFICATION, REGRESSION)}


def find_task_type(name: str) -> TaskType:
    """The task type that files call `name`; UsageError where there is none."""
    try:
        return TASK_TYPES[name]
    except KeyError:
        raise UsageError(f"problem `{name}` is not one of {', '.join(TASK_TYPES)}") from None
