"""A teacher: a trained model whose answers a task on a slimmer backbone learns from, beside its labels.

Loss: half the task's own, half the distance to the teacher: for classes the divergence of softmaxes at temperature 2,
times its square (Hinton et al. 2015, arXiv 1503.02531); for several labels a text that of every label's sigmoid, added
up; for numbers the squared difference. The teacher reads every training text once, before the training.

Legend: B batch, C classes.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from spartanc.base.progress import stage
from spartanc.errors import UsageError
from spartanc.models.checkpoint import TrainedModel, load_model
from spartanc.models.examples import EncodedExamples
from spartanc.models.faster import faster
from spartanc.models.processes import mean_over_processes
from spartanc.models.training_data import TaskData
from spartanc.runtime_py.task_types.task_type import TaskType
from spartanc.runtime_py.text import TextEncoder

SHARE = 0.5  # of the loss
TEMPERATURE = 2.0


def load_teacher(path: Path, data: TaskData) -> TrainedModel:
    """The model at `path`. Raises UsageError where it answers another question than the rows ask."""
    teacher = load_model(path)
    if teacher.problem != data.task_type.name or teacher.labels != data.labels:
        theirs, ours = ", ".join(teacher.labels) or teacher.problem, ", ".join(data.labels) or data.task_type.name
        raise UsageError(
            f"the teacher `{path}` does not answer what the rows ask: it gives `{theirs}`, the rows have `{ours}`",
            hint="a teacher is trained on the same task, on a larger or denser encoder",
        )
    if teacher.tokenizer is None:
        raise UsageError(f"the teacher `{path}` has no tokenizer", hint="train it with `spartanc train`")
    return teacher


def add_answers(rows: EncodedExamples, data: TaskData, teacher: TrainedModel, max_length: int) -> None:
    """Give every training row the teacher's logits, those of a regression in the rows' unit, as `teacher`."""
    assert teacher.tokenizer is not None
    encoder = TextEncoder(teacher.tokenizer, min(max_length, teacher.module.max_length()))
    theirs = EncodedExamples(data.train_examples, data.train_targets, encoder, data.train_source)
    order = theirs.order_by_length()
    teacher.module.eval()
    with stage("ask the teacher"), torch.no_grad(), faster(teacher.module):
        logits = torch.cat(
            [
                teacher.module(batch["input_ids"], batch["attention_mask"])
                for batch in theirs.by_length().batches(teacher.module.config.pad_token_id or 0)
            ]
        )
    if data.task_type.standardised:
        logits = (logits - data.mean) / data.deviation
    for at, answer in zip(order, logits.tolist(), strict=True):
        rows.rows[at]["teacher"] = answer


def with_teacher(task_type: TaskType, loss: Tensor, logits_BC: Tensor, teacher_BC: Tensor) -> Tensor:
    """The task's own loss and the distance to the teacher, half and half."""
    apart = mean_over_processes(distance(task_type, logits_BC, teacher_BC), torch.tensor(float(len(logits_BC))))
    return (1 - SHARE) * loss + SHARE * apart


def distance(task_type: TaskType, logits_BC: Tensor, teacher_BC: Tensor) -> Tensor:
    """What a batch's answers are from the teacher's, mean over rows."""
    if not task_type.has_classes:
        return functional.mse_loss(logits_BC, teacher_BC)
    if task_type.several:
        wanted_BC = (teacher_BC / TEMPERATURE).sigmoid()
        mine_BC, least_BC = (
            functional.binary_cross_entropy_with_logits(each / TEMPERATURE, wanted_BC, reduction="none")
            for each in (logits_BC, teacher_BC)
        )
        return TEMPERATURE**2 * (mine_BC - least_BC).sum(-1).mean()
    mine, theirs = (functional.log_softmax(each / TEMPERATURE, -1) for each in (logits_BC, teacher_BC))
    return TEMPERATURE**2 * functional.kl_div(mine, theirs, reduction="batchmean", log_target=True)
