"""transformers' Trainer around a classifier: its best evaluation is kept, an interrupted training goes on.

Run under `accelerate launch` it spreads over processes. After every evaluation it keeps a checkpoint in a
folder of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from spartanc.errors import UsageError
from spartanc.models.classifier import SpartanClassifier
from spartanc.models.examples import EncodedExamples, pad_rows
from spartanc.models.faster import faster
from spartanc.models.losses import loss_of
from spartanc.models.objective import TrainingModule, make_optimizer
from spartanc.models.processes import process_count
from spartanc.models.settings import TrainSettings
from spartanc.models.training_course import follow_training
from spartanc.models.training_metrics import MetricsFile
from spartanc.models.training_work import prepare_work
from spartanc.runtime_py.task_types.decision import AUTO
from spartanc.runtime_py.task_types.task_type import TaskType

LESS_IS_BETTER = ("loss", "rmse", "mae")
_EVAL_BATCH = 64
_CHECKPOINTS = 2  # what they hold: since 2 the order of rows, how masks move, and seconds


@dataclass(frozen=True)
class TrainerRun:
    """One training, numbers in the labels' unit.

    history: every evaluation's epoch, measures, loss and seconds from the start. metric: the measure that chose the
    best of them; best: the measures of that one. logits float [N, C], targets: of the development rows, in an order of
    their own, at the best. seconds: of the training alone, of all its parts if it was resumed.
    """

    main_process: bool
    seconds: float
    steps: int
    history: tuple[dict[str, float], ...]
    metric: str
    best: dict[str, float]
    logits: np.ndarray
    targets: np.ndarray


def run_trainer(
    module: TrainingModule,
    settings: TrainSettings,
    train_rows: EncodedExamples,
    eval_rows: EncodedExamples,
    work: Path,
    identity: dict[str, Any],
    say: Callable[[str], None],
    resume: bool = False,
    unit: tuple[float, float] = (0.0, 1.0),
    metrics: MetricsFile | None = None,
    reporter: Any = None,
) -> TrainerRun:
    """Train `module` in place and leave it as it was at its best epoch; with `resume`, go on from `work`.

    unit: mean and deviation of the labels that targets were standardised by. metrics: gets a record an evaluation.
    reporter: a TrainerCallback of `reporters.py`.

    Raises GateError where loss or weights are no longer finite, UsageError where a checkpoint cannot be written.
    """
    import transformers

    from spartanc.models.trainer_class import CheckedTrainer

    transformers.utils.logging.set_verbosity_error()
    if process_count() > 1:
        say(f"{process_count()} processes share every batch of {settings.batch_size} rows")
    judge = Judge(module, unit)
    metric = metric_of(module.task_type, settings.metric, [row["labels"] for row in eval_rows.rows])
    checkpoint = prepare_work(work, identity | {"checkpoints": _CHECKPOINTS}, resume, say)
    pad_id = module.classifier.config.pad_token_id or 0
    trainer: Any = CheckedTrainer(
        settings=settings,
        checkpoint=checkpoint,
        model=module,
        args=_arguments(settings, len(train_rows), metric, work),
        data_collator=lambda rows: pad_rows(rows, pad_id),
        train_dataset=train_rows,
        eval_dataset=eval_rows.by_length(),  # batches of like lengths: the score does not depend on the order
        compute_metrics=lambda prediction: judge(
            trainer.state.global_step, np.asarray(prediction.predictions), np.asarray(prediction.label_ids)
        ),
        optimizers=(make_optimizer(module, settings), None),
    )
    main = trainer.is_world_process_zero()
    names = [*judge.names, "loss"]
    course = follow_training(metric, names, len(train_rows), say, main, lambda: trainer.step_loss, metrics)
    for callback in (course, *(() if reporter is None else (reporter,))):
        trainer.add_callback(callback)
    with faster(module.classifier, settings.precision, settings.arithmetic):
        try:
            trainer.run()
        finally:
            course.bar.stop()
        seconds = course.seconds()
        trainer.accelerator.wait_for_everyone()  # all have read the best checkpoint before it is deleted
        step = trainer.state.best_global_step
        if step not in judge.answers:  # of a training that this one went on with
            judge.answers[step] = judge.of(trainer.predict(trainer.eval_dataset))
    if trainer.sparse is not None:
        trainer.sparse.finish()
    module.cpu()  # whoever comes next computes there
    logits, targets = judge.answers[step]
    history = [
        {
            "epoch": round(entry["epoch"], 4),
            **{name: entry[f"eval_{name}"] for name in names},
            "seconds": entry["seconds"],
        }
        for entry in trainer.state.log_history
        if f"eval_{metric}" in entry
    ]
    best = judge.measures(logits, targets)
    return TrainerRun(main, seconds, trainer.state.global_step, tuple(history), metric, best, logits, targets)


class Judge:
    """Measures of every evaluation, which it keeps the answers of; what has no meaning counts as 0.

    Of a task type with thresholds, by those that suit the evaluation best.
    """

    def __init__(self, module: TrainingModule, unit: tuple[float, float]):
        self.task_type = module.task_type
        self.class_weights = None if module.class_weights is None else module.class_weights.cpu()
        self.mean, self.deviation = unit
        self.names = measure_names(self.task_type)
        self.answers: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def __call__(self, step: int, logits: np.ndarray, targets: np.ndarray) -> dict[str, float]:
        self.answers[step] = self._in_unit(logits, targets)
        # Of all rows together: the Trainer's own is of batches, of which processes fill up the last.
        loss = loss_of(self.task_type, torch.tensor(logits), torch.tensor(targets), self.class_weights)
        return self.measures(*self.answers[step]) | {"loss": float(loss)}

    def of(self, output: Any) -> tuple[np.ndarray, np.ndarray]:
        return self._in_unit(np.asarray(output.predictions), np.asarray(output.label_ids))

    def measures(self, logits: np.ndarray, targets: np.ndarray) -> dict[str, float]:
        task_type = self.task_type.fitted(logits, targets)
        return {name: value or 0.0 for name, value in task_type.measures(logits, targets).items()}

    def _in_unit(self, logits: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if not self.task_type.standardised:
            return logits, targets
        one, other = (each.astype(np.float64) * self.deviation + self.mean for each in (logits, targets))
        return one, other


def measure_names(task_type: TaskType) -> list[str]:
    """Of the measures that a task type reports."""
    return list(task_type.measures(np.zeros((0, 1), np.float32), []))


def metric_of(task_type: TaskType, asked: str, targets: Sequence[Any]) -> str:
    """The measure that chooses the epoch; UsageError where there is none of the name `asked`."""
    if asked == AUTO:
        return task_type.metric_of_epochs(targets)
    names = [*measure_names(task_type), "loss"]
    if asked not in names:
        raise UsageError(f"metric `{asked}` is not one of {', '.join((AUTO, *names))}, those of a {task_type.name}")
    return asked


def _arguments(settings: TrainSettings, rows: int, metric: str, work: Path) -> Any:
    from spartanc.models.transformers_trainer import TrainingArguments

    processes = process_count()
    if settings.batch_size % processes:
        raise UsageError(
            f"batches of {settings.batch_size} rows cannot be shared by {processes} processes",
            hint="--batch-size with a multiple of the processes",
        )
    when: dict[str, Any] = {"eval_strategy": "epoch", "save_strategy": "epoch", "logging_strategy": "epoch"}
    if settings.evaluations is not None:
        steps = math.ceil(rows / settings.batch_size) * settings.epochs
        every = max(1, int(steps // settings.evaluations))
        when = {f"{name}_strategy": "steps" for name in ("eval", "save", "logging")}
        when |= {f"{name}_steps": every for name in ("eval", "save", "logging")}
    return TrainingArguments(
        output_dir=str(work),
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=settings.batch_size,
        per_device_eval_batch_size=math.ceil(_EVAL_BATCH / processes) * processes,
        accelerator_config={"split_batches": True},  # a batch is that of all processes
        learning_rate=settings.lr,
        lr_scheduler_type="linear",
        warmup_steps=settings.warmup,
        max_grad_norm=settings.max_grad_norm,
        seed=settings.seed,
        **when,
        save_total_limit=1,
        load_best_model_at_end=True,
        metric_for_best_model=metric,
        greater_is_better=metric not in LESS_IS_BETTER,
        train_sampling_strategy="group_by_length",
        remove_unused_columns=False,
        label_names=["labels"],
        dataloader_pin_memory=False,
        disable_tqdm=True,
        use_cpu=not torch.cuda.is_available(),  # else processes without a GPU are not told of each other
        report_to="none",
    )


def evaluate(
    classifier: SpartanClassifier,
    task_type: TaskType,
    rows: EncodedExamples,
    precision: str = "fp32",
    arithmetic: str = "fp32",
) -> float:
    """The task type's metric of a classifier on rows, without gradients."""
    classifier.eval()
    logits, targets = [], []
    with torch.no_grad(), faster(classifier, precision, arithmetic):
        for batch in rows.by_length().batches(classifier.config.pad_token_id or 0):
            logits.append(classifier(batch["input_ids"], batch["attention_mask"]))
            targets.append(batch["labels"])
    return score(task_type, torch.cat(logits).numpy(), torch.cat(targets).numpy())


def score(task_type: TaskType, logits: np.ndarray, targets: np.ndarray) -> float:
    """The task type's metric; where it has no meaning 0, since epochs are compared by it."""
    found = task_type.score(logits, targets)
    return 0.0 if found is None else found
