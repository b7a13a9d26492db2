"""Medians, percentiles and their intervals, without assuming a distribution."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np


def median_interval(values: Sequence[float]) -> tuple[float, float]:
    """A 95% interval of the median, from order statistics (normal approximation of the binomial)."""
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    count = len(ordered)
    half = 0.98 * math.sqrt(count)
    low = max(0, math.floor(count / 2 - half))
    high = min(count - 1, math.ceil(count / 2 + half))
    return float(ordered[low]), float(ordered[high])


def summary(values: Sequence[float]) -> dict[str, float]:
    """min, mean, p50, p90, p95 and p99; percentiles are values that were measured."""
    array = np.asarray(values, dtype=np.float64)
    percentiles = np.percentile(array, [50, 90, 95, 99], method="inverted_cdf")
    names = ("p50", "p90", "p95", "p99")
    return {"min": float(array.min()), "mean": float(array.mean())} | dict(
        zip(names, percentiles.tolist(), strict=True)
    )
