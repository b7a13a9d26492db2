"""Classification: one of several named classes, the one with the largest logit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from spartanc.errors import UsageError
from spartanc.runtime_py.data import Example, label_indices
from spartanc.runtime_py.task_types.task_type import Strata, TaskType


class Classification(TaskType):
    """Targets are class indices; answers are the class with the largest logit, the first of equal ones."""

    def outputs(self, labels: Sequence[str]) -> int:
        return len(labels)

    def wrong_labels(self, labels: Sequence[str]) -> str | None:
        if len(labels) < 2:
            return "a classification needs two classes at least"
        return "two classes have the same label" if len(set(labels)) != len(labels) else None

    def find_labels(self, examples: Sequence[Example], source: str | Path) -> tuple[str, ...]:
        labels = tuple(sorted({str(example.label) for example in examples}))
        if len(labels) < 2:
            raise UsageError(f"`{source}` has one label only: `{labels[0]}`", hint="a classifier needs two at least")
        return labels

    def targets(
        self, examples: Sequence[Example], labels: Sequence[str], source: str | Path | None = None
    ) -> list[Any]:
        return label_indices(examples, labels, source)

    def strata(self, examples: Sequence[Example], labels: Sequence[str], source: str | Path | None = None) -> Strata:
        present, indices = np.unique(np.array(self.targets(examples, labels, source), int), return_inverse=True)
        return Strata(tuple(labels[index] for index in present), indices)

    def answer(self, logits_C: np.ndarray, labels: Sequence[str]) -> dict[str, Any]:
        shifted_C = np.exp(logits_C.astype(np.float64) - logits_C.max())
        scores_C = shifted_C / shifted_C.sum()
        return {
            "label": labels[int(np.argmax(logits_C))],
            "scores": {label: float(score) for label, score in zip(labels, scores_C, strict=True)},
        }

    def decide(self, logits_NC: np.ndarray) -> np.ndarray | None:
        return np.eye(logits_NC.shape[1], dtype=bool)[logits_NC.argmax(1)]

    def score(self, logits_NC: np.ndarray, targets: Sequence[Any] | np.ndarray) -> float | None:
        return float(np.mean(logits_NC.argmax(1) == np.asarray(targets))) if len(logits_NC) else None

    def constant_answer(self, targets: Sequence[Any] | np.ndarray, labels: Sequence[str]) -> tuple[str, float] | None:
        index, count = Counter(targets).most_common(1)[0]
        return labels[int(index)], count / len(targets)


CLASSIFICATION = Classification(
    name="classification",
    hub_name="single_label_classification",
    metric="accuracy",
    has_classes=True,
    standardised=False,
)
