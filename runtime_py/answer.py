"""From logits to an answer: label and scores of a classifier, the value of a regression."""

from __future__ import annotations

from typing import Any

import numpy as np

from spartanc.runtime_py.bundle import Bundle


def answer(bundle: Bundle, logits: np.ndarray) -> dict[str, Any]:
    """What the bundle's task says of `logits` [C]: see `TaskType.answer`."""
    return bundle.task_type.answer(logits, bundle.labels)
