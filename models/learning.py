"""Whether a training has learned anything: its answers against what could be had without reading the texts.

Classes: accuracy above that of always the commonest class (one-sided exact binomial test), or macro-F1 above that of
the same answers in another order (1,000 permutations). One of the two is enough: where nearly all rows are of one class
accuracy can hardly be above it. Several labels a text: the macro-F1 that the best thresholds give, above that of the
same scores given to other texts (1,000 permutations, thresholds chosen anew for each). Numbers: R² above 0, which
always the mean has, and a correlation that is not chance (Pearson's p). The best of several epochs is judged, so p is
held to `LEVEL` over their number.

Legend: N rows, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from spartanc.runtime_py.task_types.classification import CLASSIFICATION
from spartanc.runtime_py.task_types.multilabel import MULTILABEL
from spartanc.runtime_py.task_types.regression import REGRESSION
from spartanc.runtime_py.task_types.task_type import TaskType

LEVEL = 0.01
PERMUTATIONS = 1000  # and more where p is held to less than they can show


@dataclass(frozen=True)
class Learning:
    """learned: whether answers depend on the texts beyond doubt. line: that in words.

    p_values: the probability of such a figure if nothing had been learned, by figure.
    """

    learned: bool
    line: str
    p_values: dict[str, float]


def judge_learning(
    task_type: TaskType, logits_NC: np.ndarray, targets: Sequence[Any], labels: Sequence[str], epochs: int = 1
) -> Learning | None:
    """Whether the best of `epochs` evaluations shows that something was learned; None where there is no test of it."""
    judge = _TESTS.get(task_type.name)
    return None if judge is None else judge(logits_NC, targets, labels, LEVEL / max(1, epochs))


def _judge_classes(logits_NC: np.ndarray, targets: Sequence[Any], labels: Sequence[str], level: float) -> Learning:
    from scipy.stats import binomtest

    truth, given = np.asarray(targets, int), logits_NC.argmax(1)
    counts = np.bincount(truth, minlength=len(labels))
    majority, share = labels[int(counts.argmax())], float(counts.max() / len(truth))
    right = int((truth == given).sum())
    accuracy = float(binomtest(right, len(truth), min(share, 1.0), alternative="greater").pvalue)
    p_values = {"accuracy": accuracy, "macro_f1": _permuted(truth, given, len(labels), level)}
    told = ", ".join(f"`{label}` {count / len(truth):.1%}" for label, count in _commonest(given, labels))
    against = f"accuracy {right / len(truth):.4f}, {share:.4f} by always `{majority}`; answers: {told}"
    if p_values["accuracy"] <= level or p_values["macro_f1"] <= level:
        return Learning(True, against, p_values)
    return Learning(False, f"the model is no better than always `{majority}`: {against}", p_values)


def _permuted(truth: np.ndarray, given: np.ndarray, classes: int, level: float) -> float:
    """The share of permutations of `given` with a macro-F1 as high as it has (itself among them)."""
    generator = np.random.default_rng(0)
    count = max(PERMUTATIONS, round(2 / level))
    best = _macro_f1(truth, given, classes) - 1e-12
    as_high = sum(_macro_f1(truth, generator.permutation(given), classes) >= best for _ in range(count))
    return (1 + as_high) / (1 + count)


def _macro_f1(truth: np.ndarray, given: np.ndarray, classes: int) -> float:
    """scikit-learn's, a hundred times as fast, over the classes that occur on either side."""
    right = np.bincount(truth[truth == given], minlength=classes)
    both = np.bincount(truth, minlength=classes) + np.bincount(given, minlength=classes)
    return float((2 * right[both > 0] / both[both > 0]).mean())


def _commonest(given: np.ndarray, labels: Sequence[str], most: int = 4) -> list[tuple[str, int]]:
    counts = np.bincount(given, minlength=len(labels))
    return [(labels[index], int(counts[index])) for index in np.argsort(-counts, kind="stable")[:most] if counts[index]]


def _judge_labels(logits_NC: np.ndarray, targets: Sequence[Any], labels: Sequence[str], level: float) -> Learning:
    truth_NC = np.asarray(targets) > 0.5
    truth_NC, logits_NC = truth_NC[:, truth_NC.any(0)], logits_NC[:, truth_NC.any(0)]
    if not truth_NC.size:
        return Learning(False, "no development row has a label, so nothing can be said", {"macro_f1": 1.0})
    always = float((2 * truth_NC.mean(0) / (1 + truth_NC.mean(0))).mean())
    order_NC = np.argsort(-logits_NC, axis=0, kind="stable")
    # Rows of equal scores can't be told apart: a threshold stands below the last of them.
    sorted_NC = np.take_along_axis(logits_NC, order_NC, 0)
    is_cut_NC = np.vstack([sorted_NC[1:] < sorted_NC[:-1], np.ones((1, truth_NC.shape[1]), bool)])

    def best_macro_f1(truth_NC: np.ndarray) -> float:
        right_NC = np.take_along_axis(truth_NC, order_NC, 0).cumsum(0)
        f1_NC = 2 * right_NC / (np.arange(1, len(truth_NC) + 1)[:, None] + right_NC[-1])
        return float(np.where(is_cut_NC, f1_NC, 0).max(0).mean())

    generator = np.random.default_rng(0)
    found, count = best_macro_f1(truth_NC), max(PERMUTATIONS, round(2 / level))
    as_high = sum(best_macro_f1(generator.permutation(truth_NC)) >= found - 1e-12 for _ in range(count))
    p_values = {"macro_f1": (1 + as_high) / (1 + count)}
    against = f"macro-F1 {found:.4f} by the best thresholds, {always:.4f} by always all labels"
    if p_values["macro_f1"] <= level:
        return Learning(True, against, p_values)
    return Learning(False, f"the model is no better than the same answer to every text: {against}", p_values)


def _judge_numbers(logits_NC: np.ndarray, targets: Sequence[Any], labels: Sequence[str], level: float) -> Learning:
    from scipy.stats import pearsonr

    truth, found = np.asarray(targets, np.float64), logits_NC.reshape(-1).astype(np.float64)
    r2 = REGRESSION.measures(logits_NC, truth)["r2"]
    varies = len(truth) > 2 and np.ptp(truth) > 0 and np.ptp(found) > 0
    p_value = float(pearsonr(found, truth).pvalue) if varies else 1.0
    against = (
        f"R² {'has no meaning' if r2 is None else f'{r2:.4f}'}; answers deviate by {_deviation(found):.4g} from their"
        f" mean, labels by {truth.std():.4g}"
    )
    if r2 is not None and r2 > 0 and p_value <= level:
        return Learning(True, against, {"correlation": p_value})
    return Learning(False, f"the model is no better than always the mean: {against}", {"correlation": p_value})


def _deviation(numbers_N: np.ndarray) -> float:
    """The standard deviation, of equal numbers exactly 0."""
    return float(numbers_N.std()) if np.ptp(numbers_N) else 0.0


_TESTS: dict[str, Callable[[np.ndarray, Sequence[Any], Sequence[str], float], Learning]] = {
    CLASSIFICATION.name: _judge_classes,
    REGRESSION.name: _judge_numbers,
    MULTILABEL.name: _judge_labels,
}
