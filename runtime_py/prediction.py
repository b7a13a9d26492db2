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
    label: the most probable class; None for a regression.
    score: the probability of `label`; for a regression the value itself, in the unit of the training labels.
    scores: the probability of every class, in the order of `Classifier.labels`; empty for a regression.
    truncated: whether the text was longer than the program takes, and cut.
    """

    text: Text
    label: str | None
    score: float
    scores: Mapping[str, float] = field(default_factory=dict)
    truncated: bool = False

    @classmethod
    def of(cls, text: Text, answer: Mapping[str, Any]) -> Prediction:
        """From an answer in the form of `spartanc run --json`."""
        label, scores = answer.get("label"), answer.get("scores", {})
        score = answer["score"] if "score" in answer else scores[label]
        return cls(text, label, score, dict(scores), answer.get("truncated", False))

    def as_json(self) -> dict[str, Any]:
        """Plain values that `json.dumps` takes; `text_pair` is there for a pair only."""
        one, *other = (self.text,) if isinstance(self.text, str) else self.text
        pair = {"text_pair": other[0]} if other else {}
        found = {"label": self.label, "score": self.score, "scores": dict(self.scores), "truncated": self.truncated}
        return {"text": one, **pair, **found}
