"""What is seen of a training while it runs: a bar on a terminal, a line an evaluation elsewhere, a record of each.

A record has `step` and `epoch`, the measures on the development rows and their `loss`, the `training_loss` since the
record before, the `learning_rate` of parents and keys, `rows_per_second` of training alone, and `seconds` from the
start of the training, evaluations included.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

from spartanc.base.progress import is_silenced
from spartanc.models.training_metrics import MetricsFile

_OF_NEW_LOSS = 0.1  # how much of a shown loss is the last step's: single batches jump


def follow_training(
    metric: str,
    names: Sequence[str],
    rows: int,
    say: Callable[[str], None],
    shown: bool,
    step_loss: Callable[[], float],
    file: MetricsFile | None,
) -> Any:
    """A TrainerCallback.

    metric: the measure that chooses the epoch; names: all measures, `loss` too. rows: of an epoch. shown: whether this
    process speaks and writes. step_loss: the loss of the step that has just ended. file: gets the records.
    """
    from spartanc.models.transformers_trainer import TrainerCallback

    class FollowTraining(TrainerCallback):
        def __init__(self):
            self.bar, self.task = _bar(shown)
            self.started = time.perf_counter()
            self.seconds_before = 0.0  # of the parts that this one goes on with
            self.smooth_loss = math.nan
            self.logged: dict[str, float] = {}
            self.busy = 0.0  # seconds of training since the last evaluation
            self.epoch_before = 0.0

        def on_train_begin(self, args, state, control, **kwargs):
            self.mark = time.perf_counter()
            self.first_step, self.epoch_before = state.global_step, state.epoch or 0.0
            self.seconds_before = max((entry.get("seconds", 0.0) for entry in state.log_history), default=0.0)
            if file is not None and shown:
                file.begin(state.global_step)
            self.bar.start()
            self.bar.start_task(self.task)
            self.bar.update(self.task, total=state.max_steps, completed=state.global_step)

        def on_step_end(self, args, state, control, lr_scheduler=None, **kwargs):
            self._count()
            loss = step_loss()
            if not math.isnan(self.smooth_loss):
                loss = _OF_NEW_LOSS * loss + (1 - _OF_NEW_LOSS) * self.smooth_loss
            self.smooth_loss = loss
            rate = lr_scheduler.get_last_lr()[0]
            told = f"loss {loss:.4f}, rate {rate:.2g}, {self._rows_per_second(state):,.0f} rows/s"
            self.bar.update(self.task, completed=state.global_step, told=told)

        def on_log(self, args, state, control, logs=None, **kwargs):
            if logs and "loss" in logs:  # of training; an evaluation's are `eval_…`
                self.logged = logs

        def on_evaluate(self, args, state, control, metrics=None, **kwargs):
            if metrics and f"eval_{metric}" in metrics:
                seconds = self.seconds()
                state.log_history[-1]["seconds"] = seconds  # this evaluation's; checkpoints keep it
                if shown:
                    self._tell(state, {name: float(metrics[f"eval_{name}"]) for name in names}, seconds)
                self.busy, self.epoch_before = 0.0, state.epoch
            self.mark = time.perf_counter()

        def on_save(self, args, state, control, **kwargs):
            self.mark = time.perf_counter()

        def on_train_end(self, args, state, control, **kwargs):
            self.bar.stop()

        def seconds(self) -> float:
            """From the start of the training, of all its parts, to now."""
            return self.seconds_before + time.perf_counter() - self.started

        def _tell(self, state, measures: dict[str, float], seconds: float) -> None:
            record = {
                "step": state.global_step,
                "epoch": round(state.epoch, 4),
                **measures,
                "training_loss": self.logged.get("loss", self.smooth_loss),
                "learning_rate": self.logged.get("learning_rate", 0.0),
                "rows_per_second": round(self._rows_per_second(state), 1),
                "seconds": round(seconds, 3),
            }
            if file is not None:
                file.add(record)
            a_step = (seconds - self.seconds_before) / max(1, state.global_step - self.first_step)
            left = a_step * (state.max_steps - state.global_step)
            loss = "" if metric == "loss" else f"loss {record['loss']:.4f}, "
            say(
                f"epoch {state.epoch:.3g}: {metric} {record[metric]:.4f}, {loss}"
                f"training loss {record['training_loss']:.4f}, rate {record['learning_rate']:.2g}, "
                f"{record['rows_per_second']:,.0f} rows/s, {_clock(left)} left"
            )

        def _count(self) -> None:
            now = time.perf_counter()
            self.busy += now - self.mark
            self.mark = now

        def _rows_per_second(self, state) -> float:
            return rows * (state.epoch - self.epoch_before) / self.busy if self.busy else 0.0

    return FollowTraining()


def _bar(shown: bool) -> tuple[Any, Any]:
    """A bar and its task: steps, time left, and `told`."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("training"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[told]}"))
    disable = not (shown and console.is_terminal and not is_silenced())
    bar = Progress(*columns, TimeRemainingColumn(), console=console, transient=True, disable=disable)
    return bar, bar.add_task("training", start=False, told="")


def _clock(seconds: float) -> str:
    """As `1:02:03` or `2:03`."""
    hours, rest = divmod(round(seconds), 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}" if hours else f"{rest // 60}:{rest % 60:02}"
