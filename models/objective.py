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
from spartanc.models.processes import mean_over_processes, sum_over_processes
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
        self.class_weights: Tensor | None
        self.register_buffer("class_weights", class_weights, persistent=False)  # goes where the model goes
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
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        labels: Tensor | None = None,
        teacher: Tensor | None = None,
        real_rows: int | None = None,
    ) -> dict[str, Tensor]:
        """Logits [B, C] and, with labels, the loss: in training that of the whole batch, of which other processes may
        hold the rest. real_rows: how many rows count, the first ones; a last batch is filled up for some process.
        """
        self._weights.clear()
        logits_BC = self.classifier(input_ids, attention_mask)
        if labels is None:
            return {"logits": logits_BC}
        rows = len(labels) if real_rows is None else real_rows
        loss = loss_of(self.task_type, logits_BC[:rows], labels[:rows], self.class_weights)
        if self.training:
            loss = mean_over_processes(loss, self._weight_of(labels[:rows]))
        if teacher is not None:
            loss = with_teacher(self.task_type, loss, logits_BC[:rows], teacher[:rows])
        if self._weights:
            loss = loss + self.load_balance * load_balancing_loss(self._weights, attention_mask, rows)
            self._weights.clear()
        penalty = None if self.penalty is None or not self.training else self.penalty()
        if penalty is not None:
            loss = loss + penalty
        return {"loss": loss, "logits": logits_BC}

    def _weight_of(self, labels_B: Tensor) -> Tensor:
        """How much rows count in the mean of their losses."""
        if self.class_weights is None or labels_B.is_floating_point():
            return torch.tensor(float(len(labels_B)), device=labels_B.device)
        return self.class_weights[labels_B].sum()


def load_balancing_loss(weights: Sequence[Tensor], attention_mask: Tensor, rows: int | None = None) -> Tensor:
    """Mean over layers of E * sum over parents of (mean weight over all real tokens)^2; 1 at equal use.

    rows: how many rows count, the first ones; all by default. Those of other processes count too.
    """
    real_BL1 = attention_mask[:rows].unsqueeze(-1).to(weights[0].dtype)
    count = sum_over_processes(real_BL1.sum())
    losses = []
    for weights_BLE in weights:
        mean_E = sum_over_processes((weights_BLE[:rows] * real_BL1).sum((0, 1))) / count
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
