"""What a bundle answers for one text. Needs the standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Text = str | tuple[str, str]  # one text, or a pair


@dataclass(frozen=True)
class Prediction:
    """The answer for one text.

    text: the text, or the pair, as it was given.
    label: the most probable class; None for a regression, and for a task whose texts may have several labels.
    score: the probability of `label`, or of the most probable class where there is no `label`; for a regression the
    value itself, in the unit of the training labels.
    scores: the probability of every class, in the order of `Classifier.labels`; empty for a regression.
    labels: of a task whose texts may have several, those above their thresholds; None for other tasks.
    truncated: whether the text was longer than the bundle takes, and cut.
    """

    text: Text
    label: str | None
    score: float
    scores: Mapping[str, float] = field(default_factory=dict)
    labels: tuple[str, ...] | None = None
    truncated: bool = False

    @classmethod
    def of(cls, text: Text, answer: Mapping[str, Any]) -> Prediction:
        """From an answer in the form of `spartanc run --json`."""
        label, scores = answer.get("label"), dict(answer.get("scores", {}))
        score = answer["score"] if "score" in answer else max(scores.values()) if label is None else scores[label]
        several = tuple(answer["labels"]) if "labels" in answer else None
        return cls(text, label, score, scores, several, bool(answer.get("truncated", False)))

    def as_json(self) -> dict[str, Any]:
        """Plain values that `json.dumps` takes; `text_pair` and `labels` are there only if they have a meaning."""
        one, *other = (self.text,) if isinstance(self.text, str) else self.text
        pair = {"text_pair": other[0]} if other else {}
        several = {} if self.labels is None else {"labels": list(self.labels)}
        answer = {"label": self.label, **several, "score": self.score, "scores": dict(self.scores)}
        return {"text": one, **pair, **answer, "truncated": self.truncated}
