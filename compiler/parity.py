"""How near a program's logits are to eager's: labels by class and as a whole, or numbers by correlation and scale.

Texts and rows made to break a program are kept apart. What is said of agreement, correlation and scale comes from
texts; the other rows count for the largest difference, and are held to limits of their own in
`spartanc.compiler.proof`. Where a model brings no text, every row counts as one and the evidence is thin.

Legend: N rows, C outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from spartanc.compiler.evidence import (
    FEW_TEXTS,
    THIN_BELOW,
    THIN_CORRELATION_BELOW,
    Interval,
    clopper_pearson,
    fisher,
)
from spartanc.runtime_py.data import Example
from spartanc.runtime_py.task_types.classification import CLASSIFICATION
from spartanc.runtime_py.task_types.regression import correlation
from spartanc.runtime_py.task_types.task_type import TaskType


@dataclass(frozen=True)
class Agreement:
    """How many of so many texts have the same label from both sides."""

    agreeing: int
    texts: int

    @property
    def share(self) -> float:
        return self.agreeing / self.texts if self.texts else 1.0

    @property
    def interval(self) -> Interval:
        return clopper_pearson(self.agreeing, self.texts)

    def as_dict(self) -> dict[str, Any]:
        return {"texts": self.texts, "label_agreement": self.share, "interval": list(self.interval)}


@dataclass(frozen=True)
class Scores:
    """How many of so many texts with labels get their own (all of them) from eager and from the program, as shares.

    error: the standard error of what was lost, text by text.
    """

    eager: float
    device: float
    texts: int
    error: float

    @property
    def lost(self) -> float:
        return self.eager - self.device


@dataclass(frozen=True)
class Numbers:
    """How numbers compare. Differences are absolute; None where nothing varies, or no text has a label.

    correlation: of the program's with eager's; correlation_eager, correlation_device: of each with the labels.
    r2: 1 - squared differences over eager's squared deviations. std: of eager's.
    """

    correlation: float | None
    r2: float | None
    std: float
    correlation_eager: float | None = None
    correlation_device: float | None = None

    @property
    def lost(self) -> float | None:
        """Correlation with the labels that the program lost."""
        if self.correlation_eager is None:
            return None
        return self.correlation_eager - (self.correlation_device or 0.0)


@dataclass(frozen=True)
class Parity:
    """One comparison.

    max_abs_diff: of any output of any row; infinite where one is not finite. magnitude: eager's largest, of any row.
    spread: of eager's outputs over the texts, largest less least.
    samples: rows compared, of which `texts` are judged, with `text_diff` as their largest difference; the others' is
    `sweep_diff`, and `sweep_agreement` the share of them with the same label.
    labels, classes: for task types with classes; scores: where texts have labels of their own. Where a text may have
    several, all of them have to agree, and a class is judged on the texts that either side gives it. numbers: for the
    others.
    real: whether the texts are texts, not random ids. thin_below: evidence is thin where the true share of equal labels
    may be lower.
    """

    max_abs_diff: float
    samples: int
    texts: int
    magnitude: float
    spread: float
    labels: Agreement | None = None
    classes: tuple[tuple[str, Agreement], ...] = ()
    scores: Scores | None = None
    numbers: Numbers | None = None
    text_diff: float = 0.0
    sweep_diff: float = 0.0
    sweep_agreement: float = 1.0
    real: bool = True
    thin_below: float = THIN_BELOW

    @property
    def label_agreement(self) -> float | None:
        """The share of texts with the same label; None where there are no labels."""
        return None if self.labels is None else self.labels.share

    @property
    def is_thin(self) -> bool:
        """Whether so few texts leave room for a program that is worse than it looks."""
        if not self.real:
            return True
        if self.labels is not None:
            return self.labels.interval[0] < self.thin_below
        assert self.numbers is not None
        found = self.numbers.correlation
        return self.texts < FEW_TEXTS or found is None or fisher(found, self.texts)[0] < THIN_CORRELATION_BELOW

    def as_dict(self) -> dict[str, Any]:
        """The JSON of `parity`."""
        found: dict[str, Any] = {
            "max_abs_diff": self.max_abs_diff,
            "label_agreement": self.label_agreement,
            "samples": self.samples,
            "texts": self.texts if self.real else 0,
            "evidence": "thin" if self.is_thin else "enough",
        }
        if self.labels is not None:
            found["interval"] = list(self.labels.interval)
            found["classes"] = {name: each.as_dict() for name, each in self.classes}
        if self.scores is not None:
            found |= {"accuracy_eager": self.scores.eager, "accuracy_device": self.scores.device}
        if self.numbers is not None:
            numbers = self.numbers
            found |= {
                "correlation": numbers.correlation,
                "interval": None if numbers.correlation is None else list(fisher(numbers.correlation, self.texts)),
                "r2": numbers.r2,
                "max_diff_over_std": self.max_abs_diff / numbers.std if numbers.std else None,
                "correlation_eager": numbers.correlation_eager,
                "correlation_device": numbers.correlation_device,
            }
        return found


@dataclass(frozen=True)
class Reference:
    """What programs are compared with: eager's logits [N, C], float64.

    examples: what the first rows came from, each with its label if it has one; empty where no row came from a text.
    judged: how many of the first rows are judged; the rows after them were made to break a program. All if None.
    """

    logits_NC: np.ndarray
    task_type: TaskType = CLASSIFICATION
    labels: tuple[str, ...] = ()
    examples: tuple[Example, ...] = ()
    judged: int | None = None
    real: bool | None = None  # whether the judged rows are of texts; by default, whether there are examples

    @property
    def texts(self) -> int:
        return len(self.logits_NC) if self.judged is None else self.judged

    @property
    def scale(self) -> float:
        """What tolerances of passes are parts of: 1 for logits; ten deviations of numbers, since a score may be a small
        difference of large terms, whose rounding it has. With the usual 1e-5 that is the gate of the whole program.
        """
        return 1.0 if self.task_type.has_classes else 10 * float(self.logits_NC[: self.texts].std())

    def compare(self, got: Sequence[np.ndarray], thin_below: float = THIN_BELOW) -> Parity:
        """`got`: logits [C] of every row, in order. thin_below: see `Parity`."""
        reference_NC, result_NC = self.logits_NC, np.stack(got).astype(np.float64)
        if not len(reference_NC) or reference_NC.shape != result_NC.shape:
            raise AssertionError(f"expected rows of shape {reference_NC.shape} against {result_NC.shape}")
        difference_N = np.abs(reference_NC - result_NC).max(1)
        difference_N[~np.isfinite(difference_N)] = np.inf
        count = self.texts
        texts_NC = reference_NC[:count]
        parity = Parity(
            max_abs_diff=float(difference_N.max()),
            samples=len(reference_NC),
            texts=count,
            magnitude=float(np.abs(reference_NC).max()),
            spread=float(np.ptp(texts_NC)),
            text_diff=float(difference_N[:count].max()),
            sweep_diff=float(difference_N[count:].max(initial=0.0)),
            real=bool(self.examples) if self.real is None else self.real,
            thin_below=thin_below,
        )
        decided_NC = self.task_type.decide(reference_NC)
        if decided_NC is None:
            return replace(parity, numbers=self._numbers(texts_NC, result_NC[:count]))
        given_NC = self.task_type.decide(result_NC)
        assert given_NC is not None
        same_N = (decided_NC == given_NC).all(1)
        names = self.labels or tuple(str(index) for index in range(reference_NC.shape[1]))
        classes = []
        for index, name in enumerate(names):
            of_class_N, got_N = decided_NC[:count, index], given_NC[:count, index]
            agreeing = int((of_class_N & got_N).sum())
            if self.task_type.several:  # one more is a change of none of the others
                of_class_N = of_class_N | got_N
            if of_class_N.any():
                classes.append((name, Agreement(agreeing, int(of_class_N.sum()))))
        return replace(
            parity,
            labels=Agreement(int(same_N[:count].sum()), count),
            classes=tuple(classes),
            scores=self._scores(texts_NC, result_NC[:count]),
            sweep_agreement=float(same_N[count:].mean()) if count < len(same_N) else 1.0,
        )

    def _scores(self, eager_NC: np.ndarray, got_NC: np.ndarray) -> Scores | None:
        rows = self._labelled()
        if not rows:
            return None
        targets = np.asarray(self.task_type.targets([self.examples[i] for i in rows], self.labels))
        truth_NC = np.eye(eager_NC.shape[1], dtype=bool)[targets] if targets.ndim == 1 else targets.astype(bool)
        decided = (np.asarray(self.task_type.decide(side[rows])) for side in (eager_NC, got_NC))
        eager_N, got_N = ((decided_NC == truth_NC).all(1) for decided_NC in decided)
        error = float((eager_N.astype(float) - got_N).std() / len(rows) ** 0.5)
        return Scores(float(eager_N.mean()), float(got_N.mean()), len(rows), error)

    def _labelled(self) -> list[int]:
        return [i for i, example in enumerate(self.examples) if example.label is not None]

    def _numbers(self, eager_NC: np.ndarray, got_NC: np.ndarray) -> Numbers:
        eager, got = eager_NC.ravel(), got_NC.ravel()
        if not np.isfinite(got).all():
            return Numbers(None, None, float(eager.std()))
        variance = float(np.square(eager - eager.mean()).sum())
        rows = self._labelled()
        sides: list[float | None] = [None, None]
        if rows:
            targets = self.task_type.targets([self.examples[i] for i in rows], self.labels)
            sides = [self.task_type.score(side[rows], targets) for side in (eager_NC, got_NC)]
        return Numbers(
            correlation=correlation(eager, got),
            r2=1 - float(np.square(eager - got).sum()) / variance if variance else None,
            std=float(eager.std()),
            correlation_eager=sides[0],
            correlation_device=sides[1],
        )


def largest_difference(expected: np.ndarray, got: np.ndarray) -> float:
    """Of two arrays of one shape; infinite where a number is not finite, so that it is above every other one."""
    found = float(np.abs(expected - got).max())
    return found if np.isfinite(found) else float("inf")


def compare(expected: Sequence[np.ndarray], got: Sequence[np.ndarray]) -> Parity:
    """Two lists of a classifier's logits [C], of the same rows."""
    return Reference(np.stack(expected).astype(np.float64), real=True).compare(got)
