"""Labels as a model has them: positions of classes, or numbers."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path

from spartanc.errors import UsageError
from spartanc.runtime_py.data.example import Example, place

NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")


def label_indices(examples: Sequence[Example], labels: Sequence[str], source: str | Path | None = None) -> list[int]:
    """The position in `labels` of every example's label; UsageError names the first that is missing or unknown."""
    index = {name: position for position, name in enumerate(labels)}
    found = []
    for example, label in zip(examples, written_labels(examples, source), strict=True):
        position = index.get(label)
        if position is None:
            raise UsageError(
                f"{place(source, example)}label `{label}` is not one of the model's",
                hint=f"the model knows {listed(labels)}",
            )
        found.append(position)
    return found


def label_numbers(examples: Sequence[Example], source: str | Path | None = None) -> list[float]:
    """Every example's label as a number, for regression; UsageError names the first that is missing or is none."""
    numbers = []
    for example, label in zip(examples, written_labels(examples, source), strict=True):
        number = as_number(label)
        if number is None:
            raise UsageError(
                f"{place(source, example)}label `{label}` is not a number",
                hint='a regression label is a finite number: {"text": "…", "label": 2.5}',
            )
        numbers.append(number)
    return numbers


def as_number(label: str) -> float | None:
    """The number that a label is; None where it is none, or not finite."""
    number = float(label) if NUMBER.fullmatch(label.strip()) else math.nan
    return number if math.isfinite(number) else None


def written_labels(examples: Sequence[Example], source: str | Path | None = None) -> list[str]:
    """Every example's label as it was written; UsageError names the first that is missing."""
    found = []
    for example in examples:
        if example.label is None:
            raise UsageError(
                f"{place(source, example)}no `label`", hint="`--label-column` names a column that is called otherwise"
            )
        found.append(example.label)
    return found


def listed(labels: Sequence[str]) -> str:
    """The first few of `labels`, for a message."""
    return ", ".join(f"`{name}`" for name in labels[:8]) + (", …" if len(labels) > 8 else "")
