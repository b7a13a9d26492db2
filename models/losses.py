"""What training minimises, by task type: logits [B, C] against the targets of `TaskType.targets`."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional

from spartanc.runtime_py.task_types.classification import CLASSIFICATION
from spartanc.runtime_py.task_types.regression import REGRESSION
from spartanc.runtime_py.task_types.task_type import TaskType

_LOSSES: dict[TaskType, Callable[[Tensor, Tensor, Tensor | None], Tensor]] = {
    CLASSIFICATION: functional.cross_entropy,
    REGRESSION: lambda logits_B1, targets_B, _: functional.mse_loss(logits_B1.squeeze(-1), targets_B),
}


def loss_of(task_type: TaskType, logits_BC: Tensor, targets: Tensor, weights_C: Tensor | None = None) -> Tensor:
    """The mean loss of a batch; with `weights_C`, each row counts as much as its class weighs."""
    return _LOSSES[task_type](logits_BC, targets, weights_C)
