"""Distillation: the slim encoder learns the dense one's hidden states on texts without labels.

Loss: mean over layers of |slim - dense|^2 over real tokens, in units of that layer's variance, the last layer counted
`LAST_LAYER` times, since tasks read it; half as much of the texts' mean vectors again, which heads read. Everything in
the layers is trained, embeddings are not: a task's memories start from hidden states as the dense encoder has them.

A run is its number of steps; a time limit is turned into steps as it goes, by how long the last ones took. Beside the
output it keeps a checkpoint every half minute, from which an interrupted run goes on. Under `accelerate launch` batches
are spread over processes.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from spartanc.base.files import whole_path
from spartanc.base.progress import is_silenced
from spartanc.errors import GateError, UsageError
from spartanc.models.slim.encoder import Encoder
from spartanc.models.slim.texts import endless
from spartanc.models.sparsifiers.masking import Masking

LEARNING_RATE = 4e-4
WARM_UP = 20  # steps
TIMED = 10  # steps between two looks at how many more fit into the time
WINDOW = 50  # the last steps, by which that is told
LAST_LAYER = 3.0
MEAN_VECTORS = 0.5
CHECKPOINT_EVERY = 30.0  # seconds
TOLD = 10  # lines about a run
CHECKPOINT = "distillation.pt"


@dataclass(frozen=True)
class DistilSettings:
    """How long and how. steps: None takes as many as fit into `seconds`."""

    seconds: float
    steps: int | None = None
    learning_rate: float = LEARNING_RATE
    seed: int = 0
    precision: str = "fp32"


@dataclass(frozen=True)
class Distilled:
    """What a run came to: its steps and seconds, and the loss by steps, averaged over the steps between."""

    steps: int
    seconds: float
    losses: tuple[tuple[int, float], ...]


class _Student(nn.Module):
    """The slim encoder with its loss, as one module that processes can share."""

    def __init__(self, encoder: Encoder, weights: Tensor):
        super().__init__()
        self.encoder = encoder
        self.weights = weights

    def forward(self, batch_ids: Tensor, batch_mask: Tensor, targets: tuple[Tensor, ...]) -> Tensor:
        states = self.encoder(batch_ids, batch_mask)
        return distance(states, targets, batch_mask, self.weights)


def distance(states: Sequence[Tensor], targets: Sequence[Tensor], mask_BL: Tensor, weights: Tensor) -> Tensor:
    """The loss above of hidden states [B, L, H] of every layer. weights: what layers count."""
    real = mask_BL.bool()
    share_BL1 = (mask_BL / mask_BL.sum(1, keepdim=True)).unsqueeze(-1)
    found = []
    for state, target in zip(states, targets, strict=True):
        state, target = state.float(), target.float()
        spread = target[real].var(0, correction=0).sum().clamp(min=1e-12)
        tokens = (state - target)[real].square().sum(-1).mean() / spread
        means = ((state - target) * share_BL1).sum(1).square().sum(-1).mean() / spread
        found.append(tokens + MEAN_VECTORS * means)
    return (torch.stack(found) * weights).sum() / weights.sum()


def distil(
    slim: Encoder,
    dense: Encoder,
    rows: Sequence[list[int]],
    settings: DistilSettings,
    masking: Masking | None = None,
    work: Path | None = None,
    resume: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> Distilled:
    """Train `slim` in place and `say` ten times how it is going.

    masking: masks that move while it trains. work: the folder for checkpoints; `resume` goes on from the one there.
    Raises GateError where the loss is no longer a number, UsageError where a checkpoint cannot be written.
    """
    accelerator = Accelerator(cpu=True, mixed_precision="bf16" if settings.precision == "bf16" else "no")
    weights = torch.ones(dense_layers(dense))
    weights[-1] = LAST_LAYER
    for parameter in slim.parameters():
        parameter.requires_grad_(False)
    trained = slim.layers_parameters()
    for parameter in trained:
        parameter.requires_grad_(True)
    optimizer = torch.optim.AdamW(trained, lr=settings.learning_rate, weight_decay=0.0, betas=(0.9, 0.98))
    student = accelerator.prepare_model(_Student(slim, weights))
    stream = endless(rows, dense.pad_id, settings.seed)
    stream = islice(stream, accelerator.process_index, None, accelerator.num_processes)  # each process its own batches
    course = _Course(settings, work, writes=accelerator.is_main_process)
    if resume and work is not None:
        course.load(slim, optimizer)
        for _ in range(course.step):  # the batches that were seen
            next(stream)
    with _bar(accelerator.is_main_process) as (bar, task):
        while course.total is None or course.step < course.total:
            batch = next(stream)
            for group in optimizer.param_groups:
                group["lr"] = settings.learning_rate * course.rate()
            if masking is not None:
                masking.advance(course.progress())
            with accelerator.autocast():
                with torch.no_grad():
                    targets = dense(batch.ids, batch.mask)
                loss = student(batch.ids, batch.mask, targets)
            penalty = None if masking is None else masking.penalty()
            optimizer.zero_grad(set_to_none=True)
            accelerator.backward(loss if penalty is None else loss + penalty)
            accelerator.clip_grad_norm_(trained, 1.0)
            optimizer.step()
            value = float(loss.detach())
            if not math.isfinite(value):
                raise GateError(f"the distillation diverged in step {course.step}: its loss is `{value}`")
            course.done(value)
            if settings.steps is None and course.step % TIMED == 0:
                course.total = broadcast_object_list([course.steps_in_time()])[0]
            bar.update(task, completed=course.step, total=course.total, loss=f"{value:.4f}")
            if course.is_told():
                say(f"step {course.step:,} of {course.total:,}: loss {value:.4f}")
            course.save_now_and_then(slim, optimizer)
    for parameter in slim.parameters():
        parameter.requires_grad_(False)
    return course.result()


def dense_layers(dense: Encoder) -> int:
    """How many hidden states it gives: applications of layers."""
    return int(dense.classifier.config.num_hidden_layers)


class _Course:
    """Where a run is: steps, time, losses, and its checkpoints."""

    def __init__(self, settings: DistilSettings, work: Path | None, writes: bool):
        self.settings, self.work, self.writes = settings, work, writes
        self.step, self.total = 0, settings.steps
        self.losses: list[tuple[int, float]] = []
        self._recent: list[float] = []
        self._before = 0.0  # seconds of runs that this one goes on from
        self._start = self._saved = time.monotonic()
        self._ends: deque[float] = deque([self._start], maxlen=WINDOW + 1)  # of the last steps
        self._share = 0.0
        self._told = 0

    def seconds(self) -> float:
        return self._before + time.monotonic() - self._start

    def progress(self) -> float:
        """Share of the run that is over: it never falls, though the number of steps that fit may grow."""
        if self.total is not None:
            self._share = max(self._share, min(1.0, self.step / self.total))
        return self._share

    def rate(self) -> float:
        """Share of the learning rate: up over the first steps, then half a cosine down to nothing."""
        if self.total is None or self.step < WARM_UP:
            return min(1.0, (self.step + 1) / WARM_UP)
        first = WARM_UP / max(self.total, WARM_UP + 1)
        return 0.5 * (1 + math.cos(math.pi * max(0.0, self.progress() - first) / (1 - first)))

    def steps_in_time(self) -> int:
        """Steps of the whole run that fit into its time, by the last ones; those that were done where it is over."""
        each = (self._ends[-1] - self._ends[0]) / (len(self._ends) - 1)
        return self.step + max(0, int((self.settings.seconds - self.seconds()) / each))

    def done(self, loss: float) -> None:
        self.step += 1
        self._ends.append(time.monotonic())
        self._recent.append(loss)
        if len(self._recent) == 50 or self.step == self.total:
            self.losses.append((self.step, sum(self._recent) / len(self._recent)))
            self._recent = []

    def is_told(self) -> bool:
        """Whether the last step is one of the `TOLD` that a reader hears of."""
        before, self._told = self._told, int(self.progress() * TOLD)
        return self._told > before

    def result(self) -> Distilled:
        return Distilled(self.step, self.seconds(), tuple(self.losses))

    def save_now_and_then(self, slim: Encoder, optimizer: torch.optim.Optimizer) -> None:
        if self.work is None or not self.writes or time.monotonic() - self._saved < CHECKPOINT_EVERY:
            return
        self._saved = time.monotonic()
        state = {
            "step": self.step,
            "total": self.total,
            "losses": self.losses,
            "seconds": self.seconds(),
            "layers": slim.classifier.layers().state_dict(),
            "optimizer": optimizer.state_dict(),
        }
        try:
            with whole_path(self.work / CHECKPOINT) as path:
                torch.save(state, path)
        except (OSError, RuntimeError) as error:
            raise UsageError(f"cannot write the checkpoint in `{self.work}`: {error}", hint="is there room?") from error

    def load(self, slim: Encoder, optimizer: torch.optim.Optimizer) -> None:
        """Go on from a checkpoint, if there is one."""
        path = None if self.work is None else self.work / CHECKPOINT
        if path is None or not path.is_file():
            return
        state = torch.load(path, weights_only=True)
        self.step, self.total, self._before = state["step"], state["total"], state["seconds"]
        self.losses = [tuple(each) for each in state["losses"]]
        slim.classifier.layers().load_state_dict(state["layers"])
        optimizer.load_state_dict(state["optimizer"])


@contextmanager
def _bar(main: bool) -> Iterator[tuple[Progress, TaskID]]:
    """A progress bar where this process has a terminal to show it on."""
    console = Console(stderr=True)
    columns = (TextColumn("distilling"), BarColumn(), MofNCompleteColumn(), TextColumn("loss {task.fields[loss]}"))
    shown = main and console.is_terminal and not is_silenced()
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True, disable=not shown) as bar:
        yield bar, bar.add_task("distilling", total=None, loss="")
