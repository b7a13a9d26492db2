"""What training minimises, and over which parameters.

Loss: the task type's (see `losses.py`; numbers are standardised), plus the load-balancing loss
of the original implementation: mean over layers of sum over parents of (mean parent weight)^2 * E, which is 1
when all parents are used alike, times a strength.

Legend: B batch, L tokens, E parents, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from spartanc.models.classifier import SpartanClassifier
from spartanc.models.losses import loss_of
from spartanc.models.settings import TrainSettings
from spartanc.models.teacher import with_teacher
from spartanc.runtime_py.task_types.task_type import TaskType


class TrainingModule(nn.Module):
    """What the Trainer trains: a classifier with its loss; `labels` are the targets of its task type."""

    def __init__(
        self,
        classifier: SpartanClassifier,
        task_type: TaskType,
        load_balance: float,
        dropout: bool,
        class_weights: Tensor | None = None,
    ):
        super().__init__()
        self.penalty: Callable[[], Tensor | None] | None = None  # added to the loss of every step
        self.class_weights = class_weights
        self.classifier = classifier
        self.task_type = task_type
        self.load_balance = load_balance
        self.dropout = dropout
        self._weights: list[Tensor] = []
        if load_balance:
            for memory in classifier.memories():
                memory.selected.register_forward_hook(self._keep_weights)

    def _keep_weights(self, module: nn.Module, args: tuple, weights_BLE: Tensor) -> None:
        if self.training:
            self._weights.append(weights_BLE)

    def train(self, mode: bool = True) -> TrainingModule:
        super().train(mode)
        if not self.dropout:
            self.classifier.eval()
        return self

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor | None = None, teacher: Tensor | None = None
    ) -> dict[str, Tensor]:
        self._weights.clear()
        logits_BC = self.classifier(input_ids, attention_mask)
        if labels is None:
            return {"logits": logits_BC}
        loss = loss_of(self.task_type, logits_BC, labels, self.class_weights)
        if teacher is not None:
            loss = with_teacher(self.task_type, loss, logits_BC, teacher)
        if self._weights:
            loss = loss + self.load_balance * load_balancing_loss(self._weights, attention_mask)
            self._weights.clear()
        penalty = None if self.penalty is None or not self.training else self.penalty()
        if penalty is not None:
            loss = loss + penalty
        return {"loss": loss, "logits": logits_BC}


def load_balancing_loss(weights: Sequence[Tensor], attention_mask: Tensor) -> Tensor:
    """Mean over layers of E * sum over parents of (mean weight over all real tokens)^2; 1 at equal use."""
    real_BL1 = attention_mask.unsqueeze(-1).to(weights[0].dtype)
    count = real_BL1.sum()
    losses = []
    for weights_BLE in weights:
        mean_E = (weights_BLE * real_BL1).sum((0, 1)) / count
        losses.append(weights_BLE.shape[-1] * mean_E.square().sum())
    return torch.stack(losses).mean()


def parameter_groups(module: TrainingModule, settings: TrainSettings) -> list[dict[str, Any]]:
    """Freeze the backbone; the task's parameters in groups, each with its own learning rate."""
    classifier = module.classifier
    task = set(classifier.task_names())
    head = classifier.head_prefixes()
    norms = {
        parameter for part in classifier.modules() if isinstance(part, nn.LayerNorm) for parameter in part.parameters()
    }
    values = {memory.values for memory in classifier.memories()}

    def kind_of(name: str, parameter: nn.Parameter) -> str:
        if parameter in norms:
            return "norm"
        if parameter in values:
            return "values"
        return "head" if name.startswith(head) else "added"

    groups: dict[str, list[nn.Parameter]] = {"added": [], "values": [], "head": [], "norm": []}
    for name, parameter in classifier.named_parameters():
        parameter.requires_grad_(name in task)
        if name in task:
            groups[kind_of(name, parameter)].append(parameter)
    rates = {"added": settings.lr, "values": settings.values_lr, "head": settings.head_lr, "norm": settings.norm_lr}
    return [
        {"params": members, "lr": rates[kind], "weight_decay": 0.0 if kind == "norm" else settings.weight_decay}
        for kind, members in groups.items()
        if members
    ]


def make_optimizer(module: TrainingModule, settings: TrainSettings) -> torch.optim.Optimizer:
    """AdamW over the task's parameters, the rest frozen; one fused operator for all of a group."""
    return torch.optim.AdamW(parameter_groups(module, settings), fused=True)
