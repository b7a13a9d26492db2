"""Regression: one number, the model's one logit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from spartanc.runtime_py.data import Example, label_numbers
from spartanc.runtime_py.task_types.task_type import Strata, TaskType


class Regression(TaskType):
    """Targets and answers are numbers; there are no classes."""

    def outputs(self, labels: Sequence[str]) -> int:
        return 1

    def wrong_labels(self, labels: Sequence[str]) -> str | None:
        return "a regression has no classes" if labels else None

    def find_labels(self, examples: Sequence[Example], source: str | Path) -> tuple[str, ...]:
        return ()

    def targets(
        self, examples: Sequence[Example], labels: Sequence[str], source: str | Path | None = None
    ) -> list[Any]:
        return label_numbers(examples, source)

    def strata(self, examples: Sequence[Example], labels: Sequence[str], source: str | Path | None = None) -> Strata:
        """Thirds of the numbers."""
        numbers = np.array(self.targets(examples, labels, source))
        low, high = np.quantile(numbers, [1 / 3, 2 / 3])
        present, indices = np.unique(np.digitize(numbers, [low, high]), return_inverse=True)
        names = (f"below {low:.3g}", f"{low:.3g} to {high:.3g}", f"above {high:.3g}")
        return Strata(tuple(names[index] for index in present), indices)

    def answer(self, logits_C: np.ndarray, labels: Sequence[str]) -> dict[str, Any]:
        return {"label": None, "score": float(logits_C[0])}

    def decide(self, logits_NC: np.ndarray) -> np.ndarray | None:
        return None

    def losses(self, logits_NC: np.ndarray, targets: Sequence[Any] | np.ndarray) -> np.ndarray:
        return np.abs(logits_NC.reshape(-1) - np.asarray(targets))

    def score(self, logits_NC: np.ndarray, targets: Sequence[Any] | np.ndarray) -> float | None:
        return correlation(logits_NC.reshape(-1), np.asarray(targets))

    def measures(self, logits_NC: np.ndarray, targets: Sequence[Any] | np.ndarray) -> dict[str, float | None]:
        """correlation: Pearson's; spearman: of the ranks; mae, rmse: mean and root mean squared error, in the labels'
        unit; r2: 1 - squared errors over the targets' squared deviations. None where it has no meaning."""
        truth, found = np.asarray(targets, np.float64), logits_NC.reshape(-1).astype(np.float64)
        if not len(truth):
            return dict.fromkeys((self.metric, "spearman", "r2", "rmse", "mae"))
        from scipy.stats import rankdata  # boards have neither, and need the correlation alone
        from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

        return {
            self.metric: self.score(logits_NC, truth),
            "spearman": correlation(rankdata(found), rankdata(truth)),
            "r2": float(r2_score(truth, found)) if np.ptp(truth) else None,
            "rmse": float(root_mean_squared_error(truth, found)),
            "mae": float(mean_absolute_error(truth, found)),
        }

    def metric_of_epochs(self, targets: Sequence[Any] | np.ndarray) -> str:
        """R²: a correlation may be high where all predictions are nearly one number."""
        return "r2"

    def details(
        self, logits_NC: np.ndarray, targets: Sequence[Any] | np.ndarray, labels: Sequence[str]
    ) -> dict[str, Any]:
        """mean and deviation of the answers and of the targets, in the labels' unit."""
        sides = {"answers": logits_NC, "targets": np.asarray(targets)}
        return {
            side: {"mean": float(np.mean(numbers, dtype=np.float64)), "std": float(np.std(numbers, dtype=np.float64))}
            for side, numbers in sides.items()
        }


def correlation(one_N: np.ndarray, other_N: np.ndarray) -> float | None:
    """Pearson's, computed in float64; None where either side does not vary."""
    one, other = (np.asarray(each, np.float64) for each in (one_N, other_N))
    if len(one) < 2 or np.ptp(one) == 0 or np.ptp(other) == 0:
        return None
    return float(np.corrcoef(one, other)[0, 1])


REGRESSION = Regression(
    name="regression", hub_name="regression", metric="correlation", has_classes=False, standardised=True
)
