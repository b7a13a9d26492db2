"""Training on few rows: what changes where three epochs are a dozen steps.

    steps        120 at least, six evaluations on the way
    values       at ten times the usual rate, parents and keys at a tenth. What a memory adds is a mean of its values
                 with weights that sum to 1, so a step moves it by one rate at most, where a bottleneck of width 48
                 sums 48 features; in a hundred steps values can't go far enough. Parents and keys start at the
                 centres of the data and need not move; at higher rates they go to single tokens of single rows
    selection    logits that vary half as much at first: gentler borders carry over better from few texts to others
    head         slow: seen thirty times, a few rows are learned by heart by the head before memories find what they
                 share. Ten times as fast from 64 rows on, which are seen less often; faster still with hardly a row a
                 class, where rows share nothing and the head has to learn them one by one
    load balance none: so few texts hold no balance to keep to

docs/training-notes.md has what each is worth.
"""

from __future__ import annotations

import math
from dataclasses import replace

from spartanc.models.settings import TrainSettings

FEWEST_STEPS = 120
EVALUATIONS = 6


def are_few(rows: int, settings: TrainSettings) -> bool:
    """Whether the epochs of `rows` rows would be too short to learn in, or to choose the best of."""
    return math.ceil(rows / settings.batch_size) * settings.epochs < FEWEST_STEPS


def with_enough_steps(settings: TrainSettings, rows: int) -> TrainSettings:
    """For any method: as many epochs as it takes, evaluated within them."""
    epochs = math.ceil(FEWEST_STEPS / math.ceil(rows / settings.batch_size))
    return replace(settings, epochs=epochs, evaluations=EVALUATIONS)


def head_speed(rows: int, classes: int) -> int:
    """The head's rate for `rows` rows of `classes` classes (0 for regression), in multiples of its slowest one."""
    if rows < 2 * classes:
        return 30
    return 1 if rows < 64 else 10


def for_few_rows(settings: TrainSettings, rows: int, classes: int) -> TrainSettings:
    """How memories learn from `rows` rows of `classes` classes, given settings for many."""
    return replace(
        with_enough_steps(settings, rows),
        lr=settings.lr / 10,
        values_lr=settings.values_lr * 10,
        head_lr=settings.head_lr / 90 * head_speed(rows, classes),
        parent_scale=settings.parent_scale / 2,
        key_scale=settings.key_scale / 2,
        load_balance=0.0,
    )
