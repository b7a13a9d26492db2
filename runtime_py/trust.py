"""Whether a measurement deserves trust, and the reasons where it does not.

What the `spartan` command read of the machine before and after the measured runs decides; what a machine does not show
is not held against it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from spartanc.runtime_py.emulation import emulator_among
from spartanc.runtime_py.statistics import median_interval

WIDEST_INTERVAL = 0.05  # half of the median's 95% interval, over the median
MOST_OTHER_LOAD = 0.05  # of the time of all processors that the run may use
MOST_STEAL = 0.02
MOST_DRIFT = 0.05  # of the median, from the first half of the runs to the second
LEAST_FREQUENCY = 0.95  # of the highest that the processor may reach
COARSEST_CLOCK = 0.01  # of the median
MOST_OVER_ESTIMATE = 15  # times; two emulated boards that were tried took 29 and 60
LEAST_FAR_MS = 10.0  # what the estimate leaves out is most of a shorter run
_LEAST_LOAD_SECONDS = 0.5  # processor times come in ticks of 10 ms
_THROTTLED_NOW, _THROTTLED_EVER = 0xF, 0xF0000  # Raspberry Pi firmware: under-voltage, capped, throttled, hot


def reasons_against(
    raw: dict[str, Any], run_ms: Sequence[float], emulated: bool, estimated_ms: float | None = None
) -> list[str]:
    """Sentences that say why the times are not to be trusted; none if they are.

    emulated: the device is an emulator of ours. estimated_ms: the least that a run can take on the bundle's target.
    """
    reasons = []
    if emulated:
        reasons.append("emulated: the results are the device's, the times are not")
    elif (name := emulator_among(raw.get("hardware", []))) is not None:
        reasons.append(f"emulated: the machine calls itself `{name}`; its times are not a board's")
    elif estimated_ms is not None:
        reasons += _about_estimate(float(np.median(run_ms)), estimated_ms)
    reasons += _about_times(raw, run_ms)
    reasons += _about_load(raw)
    reasons += _about_speed(raw)
    return reasons


def _about_estimate(median: float, estimated_ms: float) -> list[str]:
    if median <= max(LEAST_FAR_MS, MOST_OVER_ESTIMATE * estimated_ms):
        return []
    return [
        f"far from the estimate: a run takes {median:.3g} ms, at least {estimated_ms:.3g} ms were estimated for the"
        " target: an emulated machine, or another one"
    ]


def _about_times(raw: dict[str, Any], run_ms: Sequence[float]) -> list[str]:
    reasons = []
    median = float(np.median(run_ms))
    low, high = median_interval(run_ms)
    spread = max(median - low, high - median) / median if median > 0 else 1.0
    if spread > WIDEST_INTERVAL or len(run_ms) < 10:
        reasons.append(
            f"interval too wide: the median is known to ±{spread:.1%} after {len(run_ms)} runs"
            f" (±{WIDEST_INTERVAL:.0%} and 10 runs asked)"
        )
    half = len(run_ms) // 2
    if half >= 10:
        first, second = np.median(run_ms[:half]), np.median(run_ms[half:])
        if abs(second - first) > MOST_DRIFT * median:
            reasons.append(f"drift: the second half of the runs took {second / first - 1:+.1%}")
    resolution_ms = raw["clock_resolution_ns"] / 1e6
    if resolution_ms > COARSEST_CLOCK * median:
        reasons.append(f"clock too coarse: it steps by {resolution_ms:.3g} ms, a run takes {median:.3g} ms")
    if raw["threads"] > raw["processors"]:
        reasons.append(f"{raw['threads']} threads on {raw['processors']} processors")
    return reasons


def other_load(raw: dict[str, Any]) -> float | None:
    """The share of the time of the runs' processors that others took; None where it can't be told."""
    before, after = raw["before"], raw["after"]
    seconds = (after["wall_ns"] - before["wall_ns"]) / 1e9
    if seconds < _LEAST_LOAD_SECONDS or after["busy_ticks"] == 0:
        return None
    busy = after["busy_ticks"] - before["busy_ticks"]
    own = after["own_ticks"] - before["own_ticks"]
    return max(0.0, busy - own) / (seconds * raw["ticks_per_second"] * raw["processors"])


def _about_load(raw: dict[str, Any]) -> list[str]:
    reasons = []
    load = other_load(raw)
    if load is not None and load > MOST_OTHER_LOAD:
        reasons.append(f"other load on the machine: {load:.0%} of its processors' time")
    # The load average is the whole machine's; bundles of an older spartanc bring a runtime that does not count it.
    online = raw["before"].get("online") or raw["processors"]
    if load is None and (raw["before"]["load_average"] or 0) > 0.5 * online:
        reasons.append(f"other load on the machine: load average {raw['before']['load_average']:.2f}")
    before, after = raw["before"], raw["after"]
    seconds = (after["wall_ns"] - before["wall_ns"]) / 1e9
    stolen = after["steal_ticks"] - before["steal_ticks"]
    share = stolen / max(seconds * raw["ticks_per_second"] * raw["processors"], 1.0)
    if share > MOST_STEAL:
        reasons.append(f"the hypervisor took {share:.0%} of the processors' time")
    return reasons


def _about_speed(raw: dict[str, Any]) -> list[str]:
    reasons = []
    after = raw["after"]
    # Which processors ran the threads is not known; those that did nothing are slow because of that, and stand last.
    fastest = sorted(zip(after["frequencies_mhz"], after["highest_mhz"], strict=True), reverse=True)
    for now, highest in fastest[: raw["threads"]]:
        if now < LEAST_FREQUENCY * highest:
            reasons.append(f"throttled: a processor ended at {now:.0f} of {highest:.0f} MHz")
            break
    bits = after["throttled"]
    if bits is not None:
        if bits & _THROTTLED_NOW:
            reasons.append(f"throttled: the firmware says so (bits {bits:#x})")
        elif (bits & _THROTTLED_EVER) & ~((raw["before"]["throttled"] or 0) & _THROTTLED_EVER):
            reasons.append(f"throttled: the firmware did so during the runs (bits {bits:#x})")
    return reasons
