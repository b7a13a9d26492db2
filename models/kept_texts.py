"""Which evaluation texts go into a model, for `compile` to judge its program on."""

from __future__ import annotations

import random

import numpy as np

MOST_TEXTS = 1000  # see docs/validation.md for what so many can say
OF_EACH_CLASS = 30  # first, where there are so many: a class with fewer is hardly judged


def draw_by_class(classes: np.ndarray, most: int = MOST_TEXTS, seed: int = 0) -> list[int]:
    """Indices, in order, of at most `most` rows: some of every class, the rest as they are in the data.

    classes: of every row, int [N].
    """
    shuffled = list(range(len(classes)))
    random.Random(seed).shuffle(shuffled)
    if len(shuffled) <= most:
        return sorted(shuffled)
    share = max(1, min(OF_EACH_CLASS, most // len(np.unique(classes))))
    taken: dict[int, int] = {}
    first: list[int] = []
    rest: list[int] = []
    for index in shuffled:
        name = int(classes[index])
        taken[name] = taken.get(name, 0) + 1
        (first if taken[name] <= share else rest).append(index)
    return sorted([*first, *rest][:most])
