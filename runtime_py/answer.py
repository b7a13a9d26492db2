"""From logits to an answer: label and scores of a classifier, the value of a regression."""

from __future__ import annotations

from typing import Any

import numpy as np

from spartanc.runtime_py.bundle import Bundle


def answer(bundle: Bundle, logits: np.ndarray) -> dict[str, Any]:
    """Label and softmax scores of `logits` [C]; for a regression the value itself as `score`."""
    if bundle.is_regression:
        return {"score": float(logits[0])}
    shifted = np.exp(logits.astype(np.float64) - logits.max())
    scores = shifted / shifted.sum()
    return {
        "label": bundle.labels[int(np.argmax(logits))],
        "scores": {label: float(score) for label, score in zip(bundle.labels, scores, strict=True)},
    }
