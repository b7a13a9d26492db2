"""Development rows out of training rows, where no file of them was given."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from spartanc.errors import UsageError
from spartanc.runtime_py.data import Example
from spartanc.runtime_py.task_types.decision import Decision

PARTS = 10  # one of which is held out


def hold_out(
    examples: Sequence[Example], decision: Decision, seed: int, source: str | Path
) -> tuple[list[Example], list[Example]]:
    """Training and development rows: a tenth of every class, or of a regression's rows, drawn by `seed`.

    A row of several labels counts as one of its rarest. A class of at least two texts gives one at least, and rows of
    the same texts stay together: a development text that was trained on says nothing. Both parts keep the order of the
    file. Raises UsageError where nothing can be spared.
    """
    by_class: dict[int, dict[tuple[str, str | None], list[int]]] = defaultdict(dict)
    class_of: dict[tuple[str, str | None], int] = {}
    classes_N = [0] * len(examples)
    if decision.task_type.has_classes:
        classes_N = decision.task_type.strata(examples, decision.labels, source).indices.tolist()
    for index, example in enumerate(examples):
        texts = (example.text, example.text_pair)
        label = class_of.setdefault(texts, classes_N[index])
        by_class[label].setdefault(texts, []).append(index)
    generator = random.Random(seed)
    held: set[int] = set()
    for label in sorted(by_class):  # which is the order of their names
        groups = list(by_class[label].values())
        if len(groups) > 1:
            for group in generator.sample(groups, max(1, round(len(groups) / PARTS))):
                held.update(group)
    if not held:
        raise UsageError(f"`{source}` has too few rows to hold some out", hint="give development rows with `--eval`")
    train = [example for index, example in enumerate(examples) if index not in held]
    return train, [example for index, example in enumerate(examples) if index in held]
