"""How well logits answer labelled rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from spartanc.runtime_py.bundle import Bundle
from spartanc.runtime_py.data import Example


def measure_name(bundle: Bundle) -> str:
    return "correlation" if bundle.is_regression else "accuracy"


def quality(bundle: Bundle, examples: Sequence[Example], logits: Sequence[np.ndarray]) -> float | None:
    """The share of rows with the right label, for a regression Pearson's correlation; None where that means nothing.

    Rows without a label do not count.
    """
    labelled = [
        (example.label, row) for example, row in zip(examples, logits, strict=True) if example.label is not None
    ]
    if bundle.is_regression:
        truth = np.array([float(label) for label, _ in labelled])
        found = np.array([float(row[0]) for _, row in labelled])
        if len(truth) < 2 or np.std(truth) == 0 or np.std(found) == 0:
            return None
        return float(np.corrcoef(truth, found)[0, 1])
    if not labelled:
        return None
    right = sum(bundle.labels[int(np.argmax(row))] == str(label) for label, row in labelled)
    return right / len(labelled)
