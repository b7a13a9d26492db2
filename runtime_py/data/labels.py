"""Labels as a model has them: positions of classes, sets of them, or numbers."""

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
        if label not in index:
            raise _unknown(example, label, labels, source)
        found.append(index[label])
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


def label_sets(
    examples: Sequence[Example], labels: Sequence[str], source: str | Path | None = None
) -> list[list[float]]:
    """For every example a 1 or 0 for each of `labels`; UsageError names the first that has none or an unknown one."""
    index = {name: position for position, name in enumerate(labels)}
    found = []
    for example, names in zip(examples, written_sets(examples, source), strict=True):
        row = [0.0] * len(labels)
        for name in names:
            if name not in index:
                raise _unknown(example, name, labels, source)
            row[index[name]] = 1.0
        found.append(row)
    return found


def as_number(label: str) -> float | None:
    """The number that a label is; None where it is none, or not finite."""
    number = float(label) if NUMBER.fullmatch(label.strip()) else math.nan
    return number if math.isfinite(number) else None


def written_labels(examples: Sequence[Example], source: str | Path | None = None) -> list[str]:
    """Every example's label as it was written; UsageError names the first that is missing."""
    found = []
    for example in examples:
        if example.label is None:
            raise _missing(example, source)
        if isinstance(example.label, tuple):
            raise UsageError(
                f"{place(source, example)}a list of labels, and a row has one",
                hint="`--problem multilabel` trains a model whose texts may have several",
            )
        found.append(example.label)
    return found


def written_sets(examples: Sequence[Example], source: str | Path | None = None) -> list[tuple[str, ...]]:
    """Every example's labels; one that is no list is a list of one. UsageError names the first that is missing."""
    found = []
    for example in examples:
        if example.label is None:
            raise _missing(example, source)
        found.append(example.label if isinstance(example.label, tuple) else (example.label,))
    return found


def _missing(example: Example, source: str | Path | None) -> UsageError:
    return UsageError(
        f"{place(source, example)}no `label`", hint="`--label-column` names a column that is called otherwise"
    )


def _unknown(example: Example, label: str, labels: Sequence[str], source: str | Path | None) -> UsageError:
    return UsageError(
        f"{place(source, example)}label `{label}` is not one of the model's", hint=f"the model knows {listed(labels)}"
    )


def listed(labels: Sequence[str]) -> str:
    """The first few of `labels`, for a message."""
    return ", ".join(f"`{name}`" for name in labels[:8]) + (", …" if len(labels) > 8 else "")


def in_words(label: str | tuple[str, ...] | None) -> str:
    """What a person is shown of an example's label, or labels."""
    return (", ".join(label) or "none") if isinstance(label, tuple) else str(label)
