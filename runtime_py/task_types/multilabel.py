"""Several labels a text: each is given where its probability, the sigmoid of its logit, is above its own threshold.

One threshold for all labels gives rare ones to hardly a text, since hardly a text is likely to have them. Each label
takes the threshold that is best for its F1 on development rows. A rare label has few of them, and the best of few is
luck: curves are therefore smoothed by the mean label's, as if every label had `PRIOR` rows more that are like it.

Legend: N rows, C labels, T thresholds that are tried.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from spartanc.errors import UsageError
from spartanc.runtime_py.data import Example, label_sets
from spartanc.runtime_py.data.labels import written_sets
from spartanc.runtime_py.task_types.task_type import Members, Strata, TaskType

HALF = 0.5  # the threshold of labels that were never fitted
PRIOR = 5.0  # rows
NO_LABEL = "no label"
_TRIED = np.linspace(-8, 8, 321)  # logits of thresholds


@dataclass(frozen=True)
class MultiLabel(TaskType):
    """Targets are a 1 or 0 for each label; answers are all labels above their thresholds, or none.

    thresholds: of every label's probability, above 0 and below 1; () is a half for all.
    """

    def outputs(self, labels: Sequence[str]) -> int:
        return len(labels)

    def wrong_labels(self, labels: Sequence[str]) -> str | None:
        if not labels:
            return "a multilabel task needs one label at least"
        return "two of them are the same" if len(set(labels)) != len(labels) else None

    def wrong_thresholds(self, thresholds: Sequence[float], labels: Sequence[str]) -> str | None:
        if len(thresholds) != len(labels):
            return f"{len(thresholds)} thresholds for {len(labels)} labels"
        wrong = next((each for each in thresholds if not 0 < each < 1), None)
        return None if wrong is None else f"a threshold is `{wrong}`, and they are above 0 and below 1"

    def fitted(self, logits_NC: np.ndarray, targets: Sequence[Any] | np.ndarray) -> TaskType:
        if not len(logits_NC):
            return self
        found_C = sigmoid(best_thresholds(logits_NC.astype(np.float64), _as_bool(targets)))
        return replace(self, thresholds=tuple(round(float(each), 6) for each in found_C))

    def find_labels(self, examples: Sequence[Example], source: str | Path) -> tuple[str, ...]:
        sets = {frozenset(names) for names in written_sets(examples, source)}
        labels = tuple(sorted(frozenset().union(*sets)))
        if not labels:
            raise UsageError(f"no row of `{source}` has a label", hint='a line is {"text": "…", "labels": ["…", "…"]}')
        if len(sets) == 1:
            raise UsageError(f"all rows of `{source}` have the same labels", hint="there is nothing to tell apart")
        return labels

    def targets(
        self, examples: Sequence[Example], labels: Sequence[str], source: str | Path | None = None
    ) -> list[Any]:
        return label_sets(examples, labels, source)

    def strata(self, examples: Sequence[Example], labels: Sequence[str], source: str | Path | None = None) -> Strata:
        """Every row by its rarest label here: so that draws from each group find rare ones."""
        given_NC = _as_bool(self.targets(examples, labels, source)).reshape(len(examples), len(labels))
        counts_C = np.append(given_NC.sum(0), len(examples) + 1)
        having_NC = np.column_stack([given_NC, np.ones(len(examples), bool)])
        rarest_N = np.where(having_NC, counts_C, len(examples) + 2).argmin(1)
        present, indices = np.unique(rarest_N, return_inverse=True)
        return Strata(tuple((*labels, NO_LABEL)[index] for index in present), indices)

    def members(self, examples: Sequence[Example], labels: Sequence[str], source: str | Path | None = None) -> Members:
        given_NC = _as_bool(self.targets(examples, labels, source)).reshape(len(examples), len(labels))
        belongs_NG = np.column_stack([given_NC, ~given_NC.any(1)])
        present = np.flatnonzero(belongs_NG.any(0))
        return Members(tuple((*labels, NO_LABEL)[index] for index in present), belongs_NG[:, present])

    def answer(self, logits_C: np.ndarray, labels: Sequence[str]) -> dict[str, Any]:
        scores_C, given_NC = sigmoid(logits_C.astype(np.float64)), self._given(logits_C[None])
        return {
            "label": None,
            "labels": [label for label, given in zip(labels, given_NC[0], strict=True) if given],
            "scores": {label: float(score) for label, score in zip(labels, scores_C, strict=True)},
        }

    def decide(self, logits_NC: np.ndarray) -> np.ndarray | None:
        return self._given(logits_NC)

    def doubt(self, logits_NC: np.ndarray) -> np.ndarray | None:
        """The least distance of a logit from its threshold's."""
        thresholds_C = self._thresholds(logits_NC.shape[1])
        return np.abs(logits_NC - np.log(thresholds_C / (1 - thresholds_C))).min(1)

    def losses(self, logits_NC: np.ndarray, targets: Sequence[Any] | np.ndarray) -> np.ndarray:
        """Minus the logarithm of the probability that every label is as it is."""
        x_NC = logits_NC.astype(np.float64)
        return np.logaddexp(0, np.where(_as_bool(targets), -x_NC, x_NC)).sum(1)

    def class_weights(self, targets: Sequence[Any] | np.ndarray, classes: int) -> np.ndarray | None:
        """Of the rows that have a label, against those that have it not."""
        counts_C = np.maximum(_as_bool(targets).sum(0), 1)
        return np.maximum(len(targets) - counts_C, 1) / counts_C

    def score(self, logits_NC: np.ndarray, targets: Sequence[Any] | np.ndarray) -> float | None:
        return self.measures(logits_NC, targets)[self.metric]

    def measures(self, logits_NC: np.ndarray, targets: Sequence[Any] | np.ndarray) -> dict[str, float | None]:
        """macro_f1: the mean of the labels' F1, over labels that a row has or is given; micro_f1: of all decisions
        together; exact_match: the share of rows with all their labels and no other."""
        if not len(logits_NC):
            return dict.fromkeys((self.metric, "micro_f1", "exact_match"))
        given_NC, truth_NC = self._given(logits_NC), _as_bool(targets)
        right_C, both_C = (given_NC & truth_NC).sum(0), given_NC.sum(0) + truth_NC.sum(0)
        occurring = both_C > 0
        return {
            self.metric: float((2 * right_C[occurring] / both_C[occurring]).mean()) if occurring.any() else None,
            "micro_f1": float(2 * right_C.sum() / both_C.sum()) if occurring.any() else None,
            "exact_match": float((given_NC == truth_NC).all(1).mean()),
        }

    def details(
        self, logits_NC: np.ndarray, targets: Sequence[Any] | np.ndarray, labels: Sequence[str]
    ) -> dict[str, Any]:
        """classes: precision, recall, f1, rows (that have the label), given (how often it was an answer) and threshold,
        by label; unlabelled: rows that have no label (rows), and that were given none (given)."""
        given_NC, truth_NC = self._given(logits_NC), _as_bool(targets)
        right_C, given_C, truth_C = (each.sum(0) for each in (given_NC & truth_NC, given_NC, truth_NC))
        columns = {
            "precision": right_C / np.maximum(given_C, 1),
            "recall": right_C / np.maximum(truth_C, 1),
            "f1": 2 * right_C / np.maximum(given_C + truth_C, 1),
            "rows": truth_C,
            "given": given_C,
            "threshold": self._thresholds(len(labels)),
        }
        classes = {
            label: {name: column[index].item() for name, column in columns.items()}
            for index, label in enumerate(labels)
        }
        none = {"rows": int((~truth_NC.any(1)).sum()), "given": int((~given_NC.any(1)).sum())}
        return {"classes": classes, "unlabelled": none}

    def _thresholds(self, count: int) -> np.ndarray:
        return np.array(self.thresholds or (HALF,) * count)

    def _given(self, logits_NC: np.ndarray) -> np.ndarray:
        return sigmoid(logits_NC.astype(np.float64)) > self._thresholds(logits_NC.shape[1])


def sigmoid(x: np.ndarray) -> np.ndarray:
    return np.exp(-np.logaddexp(0, -x))


def best_thresholds(logits_NC: np.ndarray, truth_NC: np.ndarray) -> np.ndarray:
    """Of every label the logit to be above, [C]: its smoothed F1 is largest there; of equal ones the nearest to 0."""
    given_CT = np.stack([_above(x_N) for x_N in logits_NC.T])
    right_CT = np.stack([_above(x_N[truth_N]) for x_N, truth_N in zip(logits_NC.T, truth_NC.T, strict=True)])
    having_C = truth_NC.sum(0)
    # The mean label, scaled to PRIOR rows that have it.
    scale = PRIOR / max(int(having_C.sum()), 1)
    given_CT, right_CT = given_CT + scale * given_CT.sum(0), right_CT + scale * right_CT.sum(0)
    f1_CT = 2 * right_CT / (given_CT + having_C[:, None] + PRIOR)
    near_first = np.argsort(np.abs(_TRIED), kind="stable")
    return _TRIED[near_first[f1_CT[:, near_first].argmax(1)]]


def _above(x_N: np.ndarray) -> np.ndarray:
    """How many of `x_N` are above each logit of `_TRIED`, [T]."""
    return len(x_N) - np.searchsorted(np.sort(x_N), _TRIED, side="right")


def _as_bool(targets: Sequence[Any] | np.ndarray) -> np.ndarray:
    return np.asarray(targets) > 0.5


MULTILABEL = MultiLabel(
    name="multilabel",
    hub_name="multi_label_classification",
    metric="macro_f1",
    has_classes=True,
    standardised=False,
    several=True,
)
