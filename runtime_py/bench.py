"""`spartanc bench`: how fast a bundle is on a device, and how far that can be believed.

Loading is measured in processes of their own, cold (the program dropped from the page cache first) and warm.
Latency is measured in one process after a warm-up, until the median's 95% interval is narrow or a time limit ends
it. Memory is measured in a separate short run, so that what the measurement keeps does not count. Against a baseline
both programs run in turn in one process, and the ratio is taken pair by pair. What is measured is a bundle, and of a
fleet one task of it: the device checks it, and pads inputs that are shorter than the program takes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spartanc.base.pages import check_page
from spartanc.errors import SpartancError, UsageError
from spartanc.runtime_py.bench_result import BenchResult, PageNotWrittenError
from spartanc.runtime_py.bundle import LONGEST_INPUT, Bundle, open_bundle
from spartanc.runtime_py.devices.catalogue import device_for
from spartanc.runtime_py.devices.device import Device, Place, Row, common_arguments, write_rows
from spartanc.runtime_py.emulation import emulator_among
from spartanc.runtime_py.estimate import estimates
from spartanc.runtime_py.profile import operator_times
from spartanc.runtime_py.report import write_report
from spartanc.runtime_py.session import pad
from spartanc.runtime_py.statistics import median_interval, summary
from spartanc.runtime_py.task_file import choose_task
from spartanc.runtime_py.trust import other_load, reasons_against

DEFAULT_LENGTH = 128
_MOST_THREADS = 256  # of a session
_MOST_SECONDS = 86400
_PROFILED_RUNS = 10
_MEMORY_RUNS = 3
_SWEEP_SHARE = 0.25  # of the time limit, for each further length and thread count


@dataclass(frozen=True)
class BenchPlan:
    """What to measure, and for how long at most.

    length: tokens, the bundle's maximum at most (default: that or 128, whichever is less). seconds: limit of the
    measured runs. loads: processes that load the program, warm and cold each. lengths and thread_counts: sweeps.
    operators: also take the time of every operator.
    """

    length: int | None = None
    threads: int | None = None
    warmup: int = 5
    seconds: float = 20.0
    precision: float = 0.02
    min_runs: int = 20
    loads: int = 5
    lengths: tuple[int, ...] = ()
    thread_counts: tuple[int, ...] = ()
    operators: bool = False
    weight_cache: bool = False

    def __post_init__(self) -> None:
        # All of them here: what the device refused in the middle would take the figures with it.
        for name, most, values in (
            ("length", LONGEST_INPUT, [self.length]),
            ("threads", _MOST_THREADS, [self.threads]),
            ("lengths", LONGEST_INPUT, self.lengths),
            ("sweep-threads", _MOST_THREADS, self.thread_counts),
        ):
            for value in values:
                if value is not None and not 1 <= value <= most:
                    raise UsageError(f"`--{name}` must be from 1 to {most}, got `{value}`")
        if not 0 < self.seconds <= _MOST_SECONDS or self.loads < 1 or self.warmup < 1 or self.min_runs < 1:
            raise UsageError(f"seconds, loads, warmup and runs must be above 0, and seconds at most {_MOST_SECONDS}")


def bench_bundle(
    path: Path,
    *,
    task: str | None = None,
    device: str = "local",
    baseline: Path | None = None,
    plan: BenchPlan | None = None,
    inputs: Mapping[str, np.ndarray] | None = None,
    html: Path | None = None,
    verification: dict[str, Any] | None = None,
    require_signature: Path | None = None,
) -> BenchResult:
    """Measure the bundle at `path`. `inputs` follow ids and mask, where the program takes more than those two.

    `task` is a fleet's, by name or file; `baseline` gets the same if it is a fleet. `html` is where the report goes,
    with the accuracy of `verification` (the JSON of `spartanc verify`) if given. Raises UsageError before anything runs
    for a plan that this bundle does not allow, and PageNotWrittenError, which holds the result, if the report can't be
    written in the end.
    """
    plan = plan or BenchPlan()
    if verification is not None and html is None:
        raise UsageError("a verification is shown on a page alone", hint="say where it goes: `--html FILE`")
    if html is not None:
        check_page(html)
    bundle = open_bundle(path, require_signature=require_signature)
    other = None if baseline is None else open_bundle(baseline, require_signature=require_signature)
    if other is not None and other.path.resolve() == bundle.path.resolve():
        raise UsageError("a bundle can't be its own baseline")
    both = [bundle] if other is None else [bundle, other]
    _check_formats(both)
    length = _length(plan, bundle, other)
    if inputs is None or task is not None:
        _check_task(both, task)
    chosen = device_for(bundle, device)
    for each in both:
        chosen.check_probe(each)
    with tempfile.TemporaryDirectory(prefix="spartanc-") as scratch, chosen.place(bundle.path) as place:
        common = common_arguments(place, Path(scratch), None, inputs, plan.weight_cache)
        measured = _Bench(chosen, place, plan, common, both, task, Path(scratch)).everything(length)
    result = _result(bundle, other, task, device, chosen.emulated, length, measured)
    if html is not None:
        try:
            write_report(result.as_json(), html, verification)
        except UsageError as error:
            raise PageNotWrittenError(error.message, result) from error
    return result


def _check_formats(bundles: Sequence[Bundle]) -> None:
    for bundle in bundles:
        if bundle.manifest.get("program_format") == "torchscript":
            raise UsageError(
                f"`{bundle.path}` holds TorchScript, which `bench` does not measure",
                hint="`spartanc compile --format executorch` makes a program that it does",
            )


def _check_task(bundles: Sequence[Bundle], task: str | None) -> None:
    """`task` is there for the fleets among `bundles`, and theirs; UsageError if not."""
    for each in [bundle for bundle in bundles if bundle.is_fleet] or bundles:
        choose_task(each, task)


@dataclass(frozen=True)
class _Measured:
    """What came from the device. raw: of the run whose latency counts, as the `spartan` command printed it."""

    raw: dict[str, Any]
    loads: dict[str, float]
    memory: float
    sweeps: dict[str, list[dict[str, Any]]]
    operators: list[dict[str, Any]] | None
    instructions: dict[str, Any] | None
    modelled: dict[str, Any] | None
    skipped: list[str]


def _result(
    bundle: Bundle,
    other: Bundle | None,
    task: str | None,
    device: str,
    emulated: bool,
    length: int,
    measured: _Measured,
) -> BenchResult:
    raw = measured.raw
    run_ms = _milliseconds(raw["programs"][0]["run_ns"])
    warmup_ns = raw["programs"][0]["warmup_ns"]
    costs = bundle.manifest.get("costs")
    reasons = reasons_against(raw, run_ms, emulated, _estimated_ms(bundle, length, raw["threads"]))
    latency = summary(run_ms)
    return BenchResult(
        bundle=str(bundle.path),
        target=bundle.target,
        device=device,
        emulated=emulated or emulator_among(raw.get("hardware", [])) is not None,
        threads=raw["threads"],
        length=length,
        warmup=len(warmup_ns),
        runs=len(run_ms),
        load_ms=measured.loads["warm"],
        load_cold_ms=measured.loads["cold"],
        first_run_ms=warmup_ns[0] / 1e6,
        latency_ms=latency,
        median_interval_ms=list(median_interval(run_ms)),
        throughput_per_s=1000.0 / latency["p50"],
        peak_rss_mb=measured.memory,
        size_on_disk={name: entry["bytes"] for name, entry in bundle.manifest["files"].items()},
        trustworthy=not reasons,
        reasons=reasons,
        machine=_machine(raw),
        kernels=raw.get("kernels"),  # bundles of an older spartanc bring a runtime that does not say it
        lengths=measured.sweeps["lengths"],
        thread_counts=measured.sweeps["thread_counts"],
        operators=measured.operators,
        instructions=measured.instructions,
        # By the board model, for one core: no measurement.
        modelled_ms=None if measured.modelled is None else measured.modelled["ms"],
        modelled=measured.modelled,
        skipped_checks=measured.skipped,
        parity=bundle.manifest.get("parity"),
        estimates=estimates(costs, length, bundle.quantization) if costs else None,
        run_ms=run_ms,
        task=task,
        **({} if other is None else _comparison(other, raw, run_ms)),
    )


def _estimated_ms(bundle: Bundle, length: int, threads: int) -> float | None:
    """What one input takes on the bundle's target at least; None for a target that no estimate is made for."""
    costs = bundle.manifest.get("costs")
    if not costs:
        return None
    rows = estimates(costs, length, bundle.quantization, threads)
    return next((row["estimated_ms"] for row in rows if row["target"] == bundle.target), None)


def _comparison(other: Bundle, raw: dict[str, Any], run_ms: list[float]) -> dict[str, Any]:
    """The ratio is taken pair by pair; above 1, this bundle is that many times faster than the baseline."""
    their_ms = _milliseconds(raw["programs"][1]["run_ns"])
    ratios = [theirs / ours for ours, theirs in zip(run_ms, their_ms, strict=True)]
    low, high = median_interval(ratios)
    return {
        "ratio": {"median": float(np.median(ratios)), "low": low, "high": high},
        "baseline": {"bundle": str(other.path), "latency_ms": summary(their_ms)},
    }


class _Bench:
    """One device, one bundle: each method is one use of the `spartan` command there.

    both: the bundle, and its baseline if there is one. common: options of every `spartan bench`.
    """

    def __init__(
        self,
        device: Device,
        place: Place,
        plan: BenchPlan,
        common: list[str],
        both: Sequence[Bundle],
        task: str | None,
        scratch: Path,
    ):
        self._device = device
        self._place = place
        self._plan = plan
        self._bundle = both[0]
        self._others = both[1:]
        self._task = task
        self._scratch = scratch
        self._there = place.put(self._bundle.path)
        self._common = common + (self._task_words() if self._bundle.is_fleet else [])

    def everything(self, length: int) -> _Measured:
        """In the order that disturbs least: loading, latency, memory, and only then what costs time itself."""
        plan = self._plan
        against = self.put_baseline(self._others[0]) if self._others else []
        loads = self.loads()
        raw = self.measure(length, plan.threads, plan.seconds, against)
        memory, sweeps = self.peak_memory(length), self.sweeps(length)
        operators, skipped = self.operators(length) if plan.operators else (None, [])
        instructions, uncounted = self.instructions(length)
        modelled, unmodelled = self.modelled(length)
        skipped = skipped + uncounted + unmodelled
        return _Measured(raw, loads, memory, sweeps, operators, instructions, modelled, skipped)

    def put_baseline(self, other: Bundle) -> list[str]:
        """The baseline under a name of its own, as options; a fleet's task may be one of them."""
        link = self._scratch / f"baseline-{other.path.resolve().name}"
        link.symlink_to(other.path.resolve(), target_is_directory=True)
        alone = other.is_fleet and not self._bundle.is_fleet
        return ["--baseline", self._place.put(link), *(self._task_words() if alone else [])]

    def _task_words(self) -> list[str]:
        if self._task is None:
            return []
        fleets = [each for each in (self._bundle, *self._others) if each.is_fleet]
        named = any(self._task in each.manifest["fleet"]["tasks"] for each in fleets)
        return ["--task", self._task if named else self._place.put(Path(self._task))]

    def ids(self, length: int) -> list[str]:
        """A row of `length` real tokens: the probe's, again and again; the mask is ones."""
        file = self._scratch / f"ids-{length}.safetensors"
        if not file.exists():
            probe = np.asarray(self._bundle.manifest["probe"].get("input_ids", [1, 2]), np.int64).ravel()
            write_rows(file, [(np.resize(probe, (1, length)), np.ones((1, length), np.int64))])
        return ["--ids", self._place.put(file)]

    def measure(self, length: int, threads: int | None, seconds: float, against: Sequence[str] = ()) -> dict[str, Any]:
        plan = self._plan
        words = ["bench", self._there, *self.ids(length), "--warmup", str(plan.warmup)]
        words += ["--min-runs", str(plan.min_runs), "--seconds", f"{seconds:g}", "--precision", f"{plan.precision:g}"]
        return self._device.command_json(self._place, [*words, *against, *_threads(threads), *self._common])

    def loads(self) -> dict[str, float]:
        """Median milliseconds to load the program alone, over processes of their own."""
        program = f"{self._there}/{self._bundle.manifest['program']}"
        words = ["info", program, *_threads(self._plan.threads)]
        words += ["--weight-cache"] if self._plan.weight_cache else []
        times: dict[str, float] = {}
        for kind, more in (("cold", ["--cold"]), ("warm", [])):
            each = [self._device.command_json(self._place, [*words, *more])["load_ms"] for _ in range(self._plan.loads)]
            times[kind] = float(np.median(each))
        return times

    def peak_memory(self, length: int) -> float:
        runs = ["--max-runs", str(_MEMORY_RUNS), "--warmup", "1"]
        words = ["bench", self._there, *self.ids(length), *runs]
        raw = self._device.command_json(self._place, [*words, *_threads(self._plan.threads), *self._common])
        return raw["peak_rss_bytes"] / (1 << 20)

    def sweeps(self, length: int) -> dict[str, list[dict[str, Any]]]:
        plan = self._plan
        seconds = plan.seconds * _SWEEP_SHARE
        return {
            "lengths": [
                {"length": each, **_point(self.measure(each, plan.threads, seconds))}
                for each in sorted(set(plan.lengths))
            ],
            "thread_counts": [
                {"threads": each, **_point(self.measure(length, each, seconds))}
                for each in sorted(set(plan.thread_counts))
            ],
        }

    def instructions(self, length: int) -> tuple[dict[str, Any] | None, list[str]]:
        """The instructions of one input, if the device counts them, or None and the reason."""
        try:
            return self._device.instructions_of_a_run(*self._one_input(length)), []
        except SpartancError as error:
            return None, [f"instructions of a run: {error}"]

    def modelled(self, length: int) -> tuple[dict[str, Any] | None, list[str]]:
        """What the board model says of one input on one core of an emulated board, or None and the reason."""
        try:
            return self._device.modelled_run(*self._one_input(length)), []
        except SpartancError as error:
            return None, [f"modelled time: {error}"]

    def _one_input(self, length: int) -> tuple[Path, Path, Row, list[str]]:
        """Bundle, program, row and options of `spartan run` for one input."""
        bundle = self._bundle
        probe = np.asarray(bundle.manifest["probe"].get("input_ids", [1, 2]), np.int64).ravel()
        ids = np.resize(probe, (1, length))
        row = pad(ids, np.ones_like(ids), bundle.min_length)  # what runs beside no manifest is not padded
        if not bundle.is_fleet:
            return bundle.path, bundle.program, row, []
        if self._task is None:
            raise UsageError("no task of the fleet was named")
        return bundle.path, bundle.path, row, ["--task", self._task]

    def operators(self, length: int) -> tuple[list[dict[str, Any]] | None, list[str]]:
        """The operators' times, or None and the reason."""
        remote, local = self._place.new_path("profile.etdump"), self._scratch / "profile.etdump"
        words = ["bench", self._there, *self.ids(length), "--profile", remote, "--warmup", "2"]
        words += ["--max-runs", str(_PROFILED_RUNS)]
        self._device.command_json(self._place, [*words, *_threads(self._plan.threads), *self._common])
        self._place.get(remote, local)
        try:
            return [asdict(row) for row in operator_times(local)], []
        except ImportError as error:
            return None, [f"time by operator: `{error.name}` is not installed here"]
        except (SpartancError, ValueError, AssertionError, RuntimeError) as error:
            return None, [f"time by operator: the profile can't be read ({error})"]


def _length(plan: BenchPlan, bundle: Bundle, other: Bundle | None) -> int:
    longest = bundle.max_length if other is None else min(bundle.max_length, other.max_length)
    length = min(DEFAULT_LENGTH, longest) if plan.length is None else plan.length
    if length > longest:
        raise UsageError(f"`--length` must be at most {longest} for this bundle, got `{length}`")
    if (most := max(plan.lengths, default=0)) > bundle.max_length:
        raise UsageError(f"`--lengths` must be at most {bundle.max_length} for this bundle, got `{most}`")
    return length


def _threads(count: int | None) -> list[str]:
    return [] if count is None else ["--threads", str(count)]


def _milliseconds(nanoseconds: Sequence[int]) -> list[float]:
    return [each / 1e6 for each in nanoseconds]


def _point(raw: dict[str, Any]) -> dict[str, Any]:
    run_ms = _milliseconds(raw["programs"][0]["run_ns"])
    low, high = median_interval(run_ms)
    return {"runs": len(run_ms), "latency_ms": summary(run_ms), "median_interval_ms": [low, high]}


def _machine(raw: dict[str, Any]) -> dict[str, Any]:
    before, after = raw["before"], raw["after"]
    return {
        "hardware": raw.get("hardware", []),
        "processors": raw["processors"],
        "other_load": other_load(raw),
        "load_average": before["load_average"],
        "temperatures_c": {"before": before["temperatures_c"], "after": after["temperatures_c"]},
        "frequencies_mhz": {
            "before": before["frequencies_mhz"],
            "after": after["frequencies_mhz"],
            "highest": after["highest_mhz"],
        },
        "clock_resolution_ns": raw["clock_resolution_ns"],
    }
