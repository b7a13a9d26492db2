"""A probe: one input with the logits that a program has to answer it with, run before anything else is.

A program that loads and computes something else, or a task that has no effect, ends there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from spartanc.errors import UsageError

_SHORT = 1 << 16  # entries
FIELDS = ("input_ids", "attention_mask", "logits", "tolerance")


@dataclass(frozen=True)
class Probe:
    """ids and mask int64 [1, L]; logits float32 [1, C]."""

    input_ids: np.ndarray
    attention_mask: np.ndarray
    logits: np.ndarray
    tolerance: float

    def misses(self, logits: np.ndarray) -> str | None:
        """What is wrong with `logits` as the answer to this input; None where nothing is."""
        expected = self.logits.reshape(-1)
        found = np.asarray(logits, np.float32).reshape(-1)
        if found.shape == expected.shape and np.all(np.abs(found - expected) <= self.tolerance):
            return None
        return (
            f"its probe gives the logits `{_rounded(found)}`, expected `{_rounded(expected)}` to within"
            f" {self.tolerance:g}"
        )


def read_probe(value: Any, classes: int) -> Probe:
    """The probe that a manifest or a task's file holds; UsageError unless it has one row and `classes` logits."""
    if not isinstance(value, Mapping) or set(value) != set(FIELDS):
        raise UsageError(f"has a `probe` that does not hold exactly {', '.join(FIELDS)}")
    rows = [value[name] for name in ("input_ids", "attention_mask", "logits")]
    if not all(isinstance(row, list) and len(row) == 1 and isinstance(row[0], list) for row in rows):
        raise UsageError("has a probe without one row of ids, mask and logits")
    ids, mask, logits = (row[0] for row in rows)
    sound = (
        _are_ids(ids)
        and _are_ids(mask)
        and len(ids) == len(mask) > 0
        and len(logits) == classes
        and all(is_number(each) and abs(each) < 1e30 for each in logits)
        and is_number(value["tolerance"])
        and value["tolerance"] >= 0
    )
    if not sound:
        raise UsageError("has a probe that is not one row of ids, its mask, a logit for every class and a tolerance")
    return Probe(
        np.array([ids], np.int64), np.array([mask], np.int64), np.array([logits], np.float32), float(value["tolerance"])
    )


def is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return -1e300 < value < 1e300  # NaN is not, nor is a whole number that no float holds


def _are_ids(value: list[Any]) -> bool:
    whole = all(isinstance(each, int) and not isinstance(each, bool) and 0 <= each < 1 << 31 for each in value)
    return len(value) <= _SHORT and whole


def _rounded(values: np.ndarray) -> str:
    return ", ".join(f"{value:.4g}" for value in values[:6]) + (", …" if len(values) > 6 else "")
