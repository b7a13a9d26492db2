"""What `spartanc bench` returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from spartanc.base.results import OPTIONAL, Result
from spartanc.errors import UsageError


@dataclass(frozen=True)
class BenchResult(Result):
    """What was measured, and how far to trust it: times in milliseconds of one input of `length` tokens.

    emulated: the device is an emulator of ours, or the machine calls itself an emulated one.
    load_ms, load_cold_ms: medians over processes of their own. latency_ms: min, mean, p50, p90, p95, p99.
    median_interval_ms: of the median, with 95% confidence. peak_rss_mb: of a whole process, in MiB. trustworthy,
    reasons: whether to believe the times, and why not. lengths, thread_counts: the sweeps. operators: their times;
    instructions: counted by an emulator; modelled_ms, modelled: one core's time by the board model, under emulation and
    never a measurement; skipped_checks: why one of these is missing. run_ms: every run. task: of a fleet. ratio,
    baseline: against another bundle, interleaved with this one; above 1 this one is faster.
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
    first_run_ms: float
    latency_ms: dict[str, float]
    median_interval_ms: list[float]
    throughput_per_s: float
    peak_rss_mb: float
    size_on_disk: dict[str, int]
    trustworthy: bool
    reasons: list[str]
    machine: dict[str, Any]
    kernels: dict[str, Any] | None
    lengths: list[dict[str, Any]]
    thread_counts: list[dict[str, Any]]
    operators: list[dict[str, Any]] | None
    instructions: dict[str, Any] | None
    modelled_ms: float | None
    modelled: dict[str, Any] | None
    skipped_checks: list[str]
    parity: dict[str, Any] | None
    estimates: list[dict[str, Any]] | None
    run_ms: list[float]
    task: str | None = field(default=None, metadata=OPTIONAL)
    ratio: dict[str, float] | None = field(default=None, metadata=OPTIONAL)
    baseline: dict[str, Any] | None = field(default=None, metadata=OPTIONAL)


class PageNotWrittenError(UsageError):
    """The report could not be written after the measurement; `result` is what was measured."""

    def __init__(self, message: str, result: BenchResult):
        super().__init__(message)
        self.result = result
