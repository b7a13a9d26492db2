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

    def doubt(self, logits_NC: np.ndarray) -> np.ndarray | None:
        two_N2 = np.sort(logits_NC, axis=1)[:, -2:]
        return two_N2[:, 1] - two_N2[:, 0]

    def losses(self, logits_NC: np.ndarray, targets: Sequence[Any] | np.ndarray) -> np.ndarray:
        """Minus the logarithm of the right class's probability."""
        x_NC = logits_NC.astype(np.float64)
        lse_N = np.log(np.exp(x_NC - x_NC.max(1, keepdims=True)).sum(1)) + x_NC.max(1)
        return lse_N - x_NC[np.arange(len(x_NC)), np.asarray(targets, int)]

    def class_weights(self, targets: Sequence[Any] | np.ndarray, classes: int) -> np.ndarray | None:
        counts = np.bincount(np.asarray(targets, int), minlength=classes)
        return counts.sum() / (classes * np.maximum(counts, 1))

    def score(self, logits_NC: np.ndarray, targets: Sequence[Any] | np.ndarray) -> float | None:
        return float(np.mean(logits_NC.argmax(1) == np.asarray(targets))) if len(logits_NC) else None

    def constant_answer(self, targets: Sequence[Any] | np.ndarray, labels: Sequence[str]) -> tuple[str, float] | None:
        index, count = Counter(targets).most_common(1)[0]
        return labels[int(index)], count / len(targets)

    def measures(self, logits_NC: np.ndarray, targets: Sequence[Any] | np.ndarray) -> dict[str, float | None]:
        """accuracy; macro_f1, weighted_f1: of the F1 of each class, the mean and the mean by rows; matthews: Matthews'
        correlation coefficient, 0 where only one class is given."""
        if not len(logits_NC):
            return dict.fromkeys(("accuracy", "macro_f1", "weighted_f1", "matthews"))
        from sklearn.metrics import f1_score, matthews_corrcoef  # boards have none, and need the accuracy alone

        truth, given = np.asarray(targets, int), logits_NC.argmax(1)
        means = {
            f"{mean}_f1": float(f1_score(truth, given, average=mean, zero_division=0)) for mean in ("macro", "weighted")
        }
        found = {self.metric: self.score(logits_NC, truth), **means}
        return found | {"matthews": float(matthews_corrcoef(truth, given)) if len(set(truth) | set(given)) > 1 else 0.0}

    def metric_of_epochs(self, targets: Sequence[Any] | np.ndarray) -> str:
        """Accuracy; macro-F1 if the commonest class would hide the others, with a share nearer to all than to even."""
        counts = np.unique(np.asarray(targets, int), return_counts=True)[1]
        return "macro_f1" if counts.max() / counts.sum() > (1 + 1 / len(counts)) / 2 else self.metric

    def details(
        self, logits_NC: np.ndarray, targets: Sequence[Any] | np.ndarray, labels: Sequence[str]
    ) -> dict[str, Any]:
        """classes: precision, recall, f1, rows (of the class) and given (how often it was the answer), by class;
        confusion: rows by true class (outer) and answer (inner), in the order of `labels`."""
        from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

        truth, given = np.asarray(targets, int), logits_NC.argmax(1)
        which = list(range(len(labels)))
        columns = precision_recall_fscore_support(truth, given, labels=which, zero_division=0)
        counts = np.bincount(given, minlength=len(labels))
        return {
            "classes": {
                label: {
                    "precision": float(precision),
                    "recall": float(recall),
                    "f1": float(f1),
                    "rows": int(rows),
                    "given": int(count),
                }
                for label, precision, recall, f1, rows, count in zip(labels, *columns, counts, strict=True)
            },
            "confusion": confusion_matrix(truth, given, labels=which).tolist(),
        }


CLASSIFICATION = Classification(
    name="classification",
    hub_name="single_label_classification",
    metric="accuracy",
    has_classes=True,
    standardised=False,
)
