"""How well logits answer labelled rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from spartanc.runtime_py.bundle import Bundle
from spartanc.runtime_py.data import Example


def measure_name(bundle: Bundle) -> str:
    return bundle.task_type.metric


def measures(bundle: Bundle, examples: Sequence[Example], logits: Sequence[np.ndarray]) -> dict[str, float | None]:
    """Every measure of the task type, as for `quality`."""
    rows = [i for i, example in enumerate(examples) if example.label is not None]
    targets = bundle.task_type.targets([examples[i] for i in rows], bundle.labels)
    outputs = bundle.task_type.outputs(bundle.labels)
    return bundle.task_type.measures(np.array([logits[i] for i in rows]).reshape(-1, outputs), targets)


def quality(bundle: Bundle, examples: Sequence[Example], logits: Sequence[np.ndarray]) -> float | None:
    """The task type's metric of `logits` [C] a row against the examples' labels; None where it has no meaning.

    Rows without a label do not count.
    """
    rows = [i for i, example in enumerate(examples) if example.label is not None]
    targets = bundle.task_type.targets([examples[i] for i in rows], bundle.labels)
    return bundle.task_type.score(np.stack([logits[i] for i in rows]), targets) if rows else None
