"""Training on few rows: what changes where three epochs are a dozen steps.

    steps        120 at least, six evaluations on the way
    values       at ten times the usual rate, parents and keys at a tenth. What a memory adds is a mean of its values
                 with weights that sum to 1, so a step moves it by one rate at most, where a bottleneck of width 48
                 sums 48 features; in a hundred steps values can't go far enough. Parents and keys start at the
                 centres of the data and need not move; at higher rates they go to single tokens of single rows
    selection    logits that vary half as much at first: gentler borders carry over better from few texts to others
    head         at the LayerNorms' rate or below it: a faster one learns by heart what it reads. With hardly a row a
                 class there is nothing to find that a class's rows share, and the head has to learn them one by one
    load balance none: so few texts hold no balance to keep to

CONTRIBUTING.md has what each is worth.
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


def is_row_a_class(rows: int, classes: int) -> bool:
    """Whether most classes have one row only. classes: 0 for regression."""
    return rows < 2 * classes


def for_few_rows(settings: TrainSettings, rows: int, classes: int) -> TrainSettings:
    """How memories learn from `rows` rows of `classes` classes, given settings for many."""
    return replace(
        with_enough_steps(settings, rows),
        lr=settings.lr / 10,
        values_lr=settings.values_lr * 10,
        head_lr=settings.head_lr / (3 if is_row_a_class(rows, classes) else 90),
        parent_scale=settings.parent_scale / 2,
        key_scale=settings.key_scale / 2,
        load_balance=0.0,
    )
