"""The interface of a task type: all that depends on whether a model gives a class, a number or something else.

To add one: a file beside this one, its line in `catalogue.py`, its loss in `spartanc.models.losses`, and its word in
the readers of bundles that are not Python (see CONTRIBUTING).

Legend: N rows, C outputs of the model.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from spartanc.errors import UsageError
from spartanc.runtime_py.data import Example


@dataclass(frozen=True)
class TaskType(ABC):
    """One task type. Objects have no state but thresholds: the classes' names are given with every call.

    name: the word for it in files, as `problem`.
    hub_name: what Hugging Face's `problem_type` calls it.
    metric: what `score` measures.
    has_classes: whether the outputs are named classes.
    standardised: whether a model is trained on targets of mean 0 and deviation 1.
    several: whether a text may have several classes, or none.
    thresholds: of a task type that decides each class by one, see `MultiLabel`; () for the others.
    """

    name: str
    hub_name: str
    metric: str
    has_classes: bool
    standardised: bool
    several: bool = False
    thresholds: tuple[float, ...] = ()

    @abstractmethod
    def outputs(self, labels: Sequence[str]) -> int:
        """How many logits a model with these classes gives."""

    @abstractmethod
    def wrong_labels(self, labels: Sequence[str]) -> str | None:
        """Why no model can have exactly these classes; None where one can."""

    def wrong_thresholds(self, thresholds: Sequence[float], labels: Sequence[str]) -> str | None:
        """Why no model with these classes can have these thresholds; None where one can."""
        return f"a {self.name} has no thresholds" if thresholds else None

    def with_thresholds(self, thresholds: Sequence[float], labels: Sequence[str]) -> TaskType:
        """This task type deciding by `thresholds`; UsageError where a model with these classes has others."""
        wrong = self.wrong_thresholds(thresholds, labels)
        if wrong is not None:
            raise UsageError(wrong)
        given = tuple(float(each) for each in thresholds)
        return self if given == self.thresholds else replace(self, thresholds=given)

    def fitted(self, logits_NC: np.ndarray, targets: Sequence[Any] | np.ndarray) -> TaskType:
        """This task type with the thresholds that suit development rows best."""
        return self

    @abstractmethod
    def find_labels(self, examples: Sequence[Example], source: str | Path) -> tuple[str, ...]:
        """The classes of training examples, in the order of the logits; UsageError where training can't use them."""

    @abstractmethod
    def targets(
        self, examples: Sequence[Example], labels: Sequence[str], source: str | Path | None = None
    ) -> list[Any]:
        """What every example's label is to the loss; UsageError names the first that is missing or wrong."""

    @abstractmethod
    def strata(self, examples: Sequence[Example], labels: Sequence[str], source: str | Path | None = None) -> Strata:
        """The examples in groups of like labels, for draws and comparisons; UsageError as for `targets`."""

    def members(self, examples: Sequence[Example], labels: Sequence[str], source: str | Path | None = None) -> Members:
        """The examples by label, each with all that it has; UsageError as for `targets`."""
        strata = self.strata(examples, labels, source)
        return Members(strata.names, np.eye(len(strata.names), dtype=bool)[strata.indices])

    @abstractmethod
    def answer(self, logits_C: np.ndarray, labels: Sequence[str]) -> dict[str, Any]:
        """What a user is told, as JSON and for `Prediction.of`.

        `label` and `scores` by class; a number: `label` None and `score`; any number of classes: `label` None, `labels`
        and `scores`.
        """

    @abstractmethod
    def decide(self, logits_NC: np.ndarray) -> np.ndarray | None:
        """Which classes each row is given, bool [N, C]; None where answers are numbers, which agree by degrees."""

    def doubt(self, logits_NC: np.ndarray) -> np.ndarray | None:
        """How far logits are from another decision, [N]; None where nothing is decided."""
        return None

    @abstractmethod
    def losses(self, logits_NC: np.ndarray, targets: Sequence[Any] | np.ndarray) -> np.ndarray:
        """How far every row is from its target, [N], to find the worst by."""

    def class_weights(self, targets: Sequence[Any] | np.ndarray, classes: int) -> np.ndarray | None:
        """By which every class counts alike in the loss, float64 [C]; None where there are no classes."""
        return None

    @abstractmethod
    def score(self, logits_NC: np.ndarray, targets: Sequence[Any] | np.ndarray) -> float | None:
        """`metric` of the logits against `targets`; None where it has no meaning (no rows, nothing that varies)."""

    def constant_answer(self, targets: Sequence[Any] | np.ndarray, labels: Sequence[str]) -> tuple[str, float] | None:
        """The best answer that is the same for every row, and its `metric`; None where that says nothing of a model."""
        return None

    def measures(self, logits_NC: np.ndarray, targets: Sequence[Any] | np.ndarray) -> dict[str, float | None]:
        """All that is worth reporting of logits against `targets`, `metric` first. May need scikit-learn."""
        return {self.metric: self.score(logits_NC, targets)}

    def metric_of_epochs(self, targets: Sequence[Any] | np.ndarray) -> str:
        """Which of `measures` to compare epochs by, on rows with these targets."""
        return self.metric

    def details(
        self, logits_NC: np.ndarray, targets: Sequence[Any] | np.ndarray, labels: Sequence[str]
    ) -> dict[str, Any]:
        """What is no single figure, as JSON: each class by its name, the spread of numbers. May need scikit-learn."""
        return {}


@dataclass(frozen=True)
class Strata:
    """names: of the groups that hold an example. indices: every example's group, int [N]."""

    names: tuple[str, ...]
    indices: np.ndarray


@dataclass(frozen=True)
class Members:
    """names: of the groups that hold an example. belongs_NG: whether each example is of each group, bool [N, G]."""

    names: tuple[str, ...]
    belongs_NG: np.ndarray
