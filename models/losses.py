"""What training minimises, by task type: logits [B, C] against the targets of `TaskType.targets`."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional

from spartanc.runtime_py.task_types.classification import CLASSIFICATION
from spartanc.runtime_py.task_types.multilabel import MULTILABEL
from spartanc.runtime_py.task_types.regression import REGRESSION
from spartanc.runtime_py.task_types.task_type import TaskType


def _of_labels(logits_BC: Tensor, targets_BC: Tensor, weights_C: Tensor | None) -> Tensor:
    """Binary cross-entropy, of all labels of a row together: as many labels do not make a row count for less."""
    return (
        functional.binary_cross_entropy_with_logits(logits_BC, targets_BC, pos_weight=weights_C, reduction="none")
        .sum(1)
        .mean()
    )


_LOSSES: dict[str, Callable[[Tensor, Tensor, Tensor | None], Tensor]] = {
    CLASSIFICATION.name: functional.cross_entropy,
    REGRESSION.name: lambda logits_B1, targets_B, _: functional.mse_loss(logits_B1.squeeze(-1), targets_B),
    MULTILABEL.name: _of_labels,
}


def loss_of(task_type: TaskType, logits_BC: Tensor, targets: Tensor, weights_C: Tensor | None = None) -> Tensor:
    """The mean loss of a batch; with `weights_C`, each row, or each label of it, counts as much as its class weighs."""
    return _LOSSES[task_type.name](logits_BC, targets, weights_C)
