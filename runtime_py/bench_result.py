"""What `spartanc bench` returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from spartanc.base.open_result import OpenResult


@dataclass(frozen=True)
class BenchResult(OpenResult):
    """What was measured, and how far to trust it.

    latency_ms: min, mean, p50, p90, p95, p99 and more, in milliseconds per inference of `length` tokens, over `runs`.
    load_ms, load_cold_ms: to load the program, with and without its file in memory. peak_rss_mb: MiB of memory.
    trustworthy, reasons: whether the machine was quiet enough, and what spoke against it. emulated: no speed at all.
    ratio: with a baseline, how many times faster than it this bundle is: median, low and high.
    document has the other fields, such as `operators` and `lengths`.
    """

    bundle: str
    target: str
    device: str
    emulated: bool
    threads: int
    length: int
    warmup: int
    runs: int
    load_ms: float
    load_cold_ms: float
    latency_ms: Mapping[str, float]
    throughput_per_s: float
    peak_rss_mb: float
    trustworthy: bool
    reasons: list[str]
    ratio: Mapping[str, float] | None
