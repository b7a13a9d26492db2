"""A probe: one input with the logits that a program has to answer it with, run before anything else is.

A program that loads and computes something else, or a task that has no effect, ends there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from spartanc.errors import UsageError
from spartanc.runtime_py.strict_json import is_count

_LONGEST = 1 << 16  # tokens
_LARGEST_ID = (1 << 31) - 1
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
    ids, mask = _ids_and_mask(value)
    logits = _row(value, "logits")
    if len(logits) != classes or not all(is_number(each) and abs(each) < 1e30 for each in logits):
        raise UsageError(f"has a `probe` without a logit for each of {classes} classes")
    if not is_number(value["tolerance"]) or value["tolerance"] < 0:
        raise UsageError(f"has a `probe` with the tolerance `{value['tolerance']}`")
    return Probe(
        np.array([ids], np.int64), np.array([mask], np.int64), np.array([logits], np.float32), float(value["tolerance"])
    )


def check_probe_input(value: Any) -> None:
    """The probe of a fleet, which is an input to measure with: UsageError unless it has one row of ids and its mask."""
    if not isinstance(value, Mapping):
        raise UsageError("has a `probe` that is not an object")
    _ids_and_mask(value)


def is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return -1e300 < value < 1e300  # NaN is not, nor is a whole number that no float holds


def _row(probe: Mapping[str, Any], name: str) -> list[Any]:
    rows = probe.get(name)
    if not isinstance(rows, list) or len(rows) != 1 or not isinstance(rows[0], list):
        raise UsageError(f"has a `probe` without one row of `{name}`")
    return rows[0]


def _ids_and_mask(probe: Mapping[str, Any]) -> tuple[list[int], list[int]]:
    ids, mask = _row(probe, "input_ids"), _row(probe, "attention_mask")
    if not 1 <= len(ids) <= _LONGEST or not all(is_count(each, most=_LARGEST_ID) for each in ids):
        raise UsageError("has a `probe` whose `input_ids` are not token ids")
    if len(mask) != len(ids) or not all(is_count(each, most=1) for each in mask):
        raise UsageError("has a `probe` whose `attention_mask` is not a 0 or 1 for every id")
    return ids, mask


def _rounded(values: np.ndarray) -> str:
    return ", ".join(f"{value:.4g}" for value in values[:6]) + (", …" if len(values) > 6 else "")
