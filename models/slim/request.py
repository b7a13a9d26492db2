"""What `spartanc slim` is asked for and what it did."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from spartanc.base.results import Result
from spartanc.base.targets.target import Target
from spartanc.errors import UsageError
from spartanc.models.slim.judge import Probed
from spartanc.models.slim.narrow import Narrowed
from spartanc.models.sparsifiers.catalogue import SPARSIFIERS, find_sparsifier
from spartanc.models.sparsifiers.second_order import SECOND_ORDER


@dataclass(frozen=True)
class SlimRequest:
    """backbone: an encoder's directory; texts: files of texts, whose labels are not read; out: the directory to write.

    speedup: how many times as fast int8 programs of `length` tokens shall be, as modelled for `target`, one core.
    minutes: for everything; distillation takes what the rest leaves. steps: of distillation, in place of a time.
    judge: labelled files to compare both encoders on.
    uneven: whether layers may keep different numbers of units.
    resume: go on from the checkpoint that an interrupted run of the same `out` left.
    """

    backbone: Path
    texts: tuple[Path, ...]
    target: Target
    out: Path
    speedup: float = 1.3
    length: int = 128
    minutes: float = 10.0
    steps: int | None = None
    judge: tuple[Path, ...] = ()
    sparsifier: str = SECOND_ORDER.name
    precision: str = "fp32"
    seed: int = 0
    uneven: bool = False
    resume: bool = False
    overwrite: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.minutes) and self.minutes > 0):
            raise UsageError(f"--minutes must be above 0, got `{self.minutes:g}`")
        if self.steps is not None and self.steps < 0:
            raise UsageError(f"--steps must be at least 0, got `{self.steps}`")
        if self.length < 1:
            raise UsageError(f"--length must be at least 1, got `{self.length}`")
        names = [each.name for each in SPARSIFIERS]
        if self.sparsifier not in names:
            raise UsageError(f"sparsifier `{self.sparsifier}` is not one of {', '.join(names)}")
        if self.uneven and self.sparsifier != SECOND_ORDER.name:
            raise UsageError("--uneven needs `--sparsifier second-order`, which knows what units are worth")
        if self.resume and find_sparsifier(self.sparsifier).moves:
            raise UsageError(
                f"--resume: `{self.sparsifier}` moves its masks while it trains, and keeps no checkpoint to go on from",
                hint="start it anew, without --resume",
            )


@dataclass(frozen=True)
class SlimResult(Result):
    """What was made.

    units_before, units: of every feed-forward, of uneven ones in the mean. removed: layer by layer.
    parameters_before, parameters: of the encoder.
    modelled_ms_before, modelled_ms: one int8 inference of `length` tokens on one core of `target`; modelled_speedup:
    their ratio. Modelled, not measured.
    unexplained: of every layer's hidden states on `held_out` texts that nothing was fitted to, the share of the
    variance that the slim encoder misses; unexplained_at_first: before distillation.
    texts: how many of each file. steps, seconds: of distillation; losses: its loss by steps.
    judged: the labelled files.
    """

    out: str
    target: str
    length: int
    sparsifier: str
    units_before: int
    units: float
    removed: tuple[Narrowed, ...]
    parameters_before: int
    parameters: int
    modelled_ms_before: float
    modelled_ms: float
    modelled_speedup: float
    texts: dict[str, int]
    held_out: int
    unexplained_at_first: tuple[float, ...]
    unexplained: tuple[float, ...]
    steps: int
    seconds: float
    losses: tuple[tuple[int, float], ...]
    judged: tuple[Probed, ...]
