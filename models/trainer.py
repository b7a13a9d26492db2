"""transformers' Trainer around a classifier: its best evaluation is kept, an interrupted training goes on.

Run under `accelerate launch` it spreads over processes or machines. After every evaluation it keeps a checkpoint in a
folder of its own.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from spartanc.errors import UsageError
from spartanc.models.classifier import SpartanClassifier
from spartanc.models.examples import EncodedExamples, pad_rows
from spartanc.models.faster import faster
from spartanc.models.objective import TrainingModule, make_optimizer
from spartanc.models.settings import TrainSettings
from spartanc.runtime_py.task_types.task_type import TaskType


@dataclass(frozen=True)
class TrainerRun:
    """One training. history, best: every evaluation, and the metric of the best one; seconds: of the training alone."""

    main_process: bool
    seconds: float
    steps: int
    history: tuple[dict[str, float], ...]
    best: dict[str, float]


def run_trainer(
    module: TrainingModule,
    settings: TrainSettings,
    train_rows: EncodedExamples,
    eval_rows: EncodedExamples,
    work: Path,
    identity: dict[str, Any],
    say: Callable[[str], None],
    resume: bool = False,
) -> TrainerRun:
    """Train `module` in place and leave it as it was at its best epoch; with `resume`, go on from `work`."""
    import transformers
    from transformers import PrinterCallback, ProgressCallback, Trainer, TrainingArguments

    transformers.utils.logging.set_verbosity_error()
    metric = module.task_type.metric
    checkpoint = _prepare_work(work, identity, resume)
    when: dict[str, Any] = {"eval_strategy": "epoch", "save_strategy": "epoch", "logging_strategy": "epoch"}
    if settings.evaluations is not None:
        steps = math.ceil(len(train_rows) / settings.batch_size) * settings.epochs
        every = max(1, int(steps // settings.evaluations))
        when = {f"{name}_strategy": "steps" for name in ("eval", "save", "logging")}
        when |= {f"{name}_steps": every for name in ("eval", "save", "logging")}
    arguments = TrainingArguments(
        output_dir=str(work),
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=settings.batch_size,
        per_device_eval_batch_size=64,
        learning_rate=settings.lr,
        lr_scheduler_type="linear",
        warmup_steps=settings.warmup,
        max_grad_norm=settings.max_grad_norm,
        seed=settings.seed,
        **when,
        save_total_limit=1,
        load_best_model_at_end=True,
        metric_for_best_model=metric,
        greater_is_better=True,
        train_sampling_strategy="group_by_length",
        remove_unused_columns=False,
        label_names=["labels"],
        dataloader_pin_memory=False,
        disable_tqdm=True,
        report_to="none",
    )
    pad_id = module.classifier.config.pad_token_id or 0
    optimizer = make_optimizer(module, settings)
    trainer = Trainer(
        model=module,
        args=arguments,
        data_collator=lambda rows: pad_rows(rows, pad_id),
        train_dataset=train_rows,
        eval_dataset=eval_rows.by_length(),  # batches of like lengths: the score does not depend on the order
        compute_metrics=lambda prediction: {
            metric: score(module.task_type, np.asarray(prediction.predictions), np.asarray(prediction.label_ids))
        },
        optimizers=(optimizer, None),
    )
    for callback in (PrinterCallback, ProgressCallback):  # stdout belongs to results
        trainer.remove_callback(callback)
    main = trainer.is_world_process_zero()
    if main and checkpoint:
        say(f"going on from {checkpoint.name}")
    progress = _progress(metric, say, main)
    trainer.add_callback(progress)
    started = time.perf_counter()
    with faster(module.classifier, settings.precision):
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    seconds = time.perf_counter() - started
    trainer.accelerator.wait_for_everyone()  # all have read the best checkpoint before it is deleted
    history = [
        {"epoch": round(entry["epoch"], 4), metric: entry[f"eval_{metric}"], "loss": entry["eval_loss"]}
        for entry in trainer.state.log_history
        if f"eval_{metric}" in entry
    ]
    for entry, moment in zip(reversed(history), reversed(progress.moments), strict=False):
        entry["seconds"] = moment - started
    return TrainerRun(main, seconds, trainer.state.global_step, tuple(history), {metric: trainer.state.best_metric})


def _prepare_work(work: Path, identity: dict[str, Any], resume: bool) -> Path | None:
    """The checkpoint to go on from, if that is asked for and `work` holds one; else an empty `work`."""
    stamp = work / "identity.json"
    content = json.dumps(identity, sort_keys=True)
    if resume:
        checkpoints = sorted(work.glob("checkpoint-*"), key=lambda path: int(path.name.partition("-")[2]))
        complete = [path for path in checkpoints if (path / "trainer_state.json").is_file()]
        if complete:
            if not stamp.is_file() or stamp.read_text() != content:
                raise UsageError(
                    f"`{work}` holds a training with other settings or data",
                    hint="give the same ones to go on, or start anew without --resume",
                )
            return complete[-1]
    if os.environ.get("RANK", "0") != "0":  # of several processes, the first one prepares
        return None
    try:
        work.mkdir(parents=True, exist_ok=True)
        for left in work.iterdir():  # the folder itself may be locked
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        stamp.write_text(content)
    except OSError as error:
        raise UsageError(f"cannot write beside the output: {error}") from error
    return None


def _progress(metric: str, say: Callable[[str], None], main: bool):
    """A callback that shows steps on a terminal, says what every evaluation came to, and keeps when it was."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
    from transformers import TrainerCallback

    class ShowProgress(TrainerCallback):
        def __init__(self):
            console = Console(stderr=True)
            columns = (TextColumn("training"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self.bar = Progress(*columns, console=console, transient=True, disable=not (main and console.is_terminal))
            self.moments: list[float] = []
            self.task = self.bar.add_task("training", start=False)

        def on_train_begin(self, args, state, control, **kwargs):
            self.bar.start()
            self.bar.start_task(self.task)
            self.bar.update(self.task, total=state.max_steps, completed=state.global_step)

        def on_step_end(self, args, state, control, **kwargs):
            self.bar.update(self.task, completed=state.global_step)

        def on_evaluate(self, args, state, control, metrics=None, **kwargs):
            if metrics and f"eval_{metric}" in metrics:
                self.moments.append(time.perf_counter())
                if main:
                    say(f"epoch {state.epoch:.3g}: {metric} {metrics[f'eval_{metric}']:.4f}")

        def on_train_end(self, args, state, control, **kwargs):
            self.bar.stop()

    return ShowProgress()


def evaluate(
    classifier: SpartanClassifier, task_type: TaskType, rows: EncodedExamples, precision: str = "fp32"
) -> float:
    """The task type's metric of a classifier on rows, without gradients."""
    classifier.eval()
    logits, targets = [], []
    with torch.no_grad(), faster(classifier, precision):
        for batch in rows.by_length().batches(classifier.config.pad_token_id or 0):
            logits.append(classifier(batch["input_ids"], batch["attention_mask"]))
            targets.append(batch["labels"])
    return score(task_type, torch.cat(logits).numpy(), torch.cat(targets).numpy())


def score(task_type: TaskType, logits: np.ndarray, targets: np.ndarray) -> float:
    """The task type's metric; where it has no meaning 0, since epochs are compared by it."""
    found = task_type.score(logits, targets)
    return 0.0 if found is None else found
