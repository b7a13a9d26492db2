"""What makes a measurement untrustworthy, each by itself."""

import copy

import numpy as np
import pytest

from spartanc.runtime_py.statistics import median_interval, summary
from spartanc.runtime_py.trust import other_load, reasons_against

STEADY = [10.0 + 0.01 * (i % 7) for i in range(100)]
STATE = {
    "load_average": 0.1,
    "online": 2,
    "busy_ticks": 1000,
    "steal_ticks": 0,
    "own_ticks": 100,
    "wall_ns": 0,
    "temperatures_c": [50.0],
    "frequencies_mhz": [1500.0, 1500.0],
    "highest_mhz": [1500.0, 1500.0],
    "throttled": 0,
}
# Two seconds on two processors, all of one of them ours.
QUIET = {
    "threads": 1,
    "processors": 2,
    "clock_resolution_ns": 40,
    "ticks_per_second": 100.0,
    "before": STATE,
    "after": STATE | {"busy_ticks": 1204, "own_ticks": 300, "wall_ns": 2_000_000_000},
}


def changed(**after):
    raw = copy.deepcopy(QUIET)
    raw["after"] |= after
    return raw


def test_a_quiet_machine_is_trusted():
    assert reasons_against(QUIET, STEADY, emulated=False) == []


def test_emulation_is_never_trusted():
    assert "emulated" in reasons_against(QUIET, STEADY, emulated=True)[0]


@pytest.mark.parametrize(
    ("hardware", "name"),
    [
        (["linux,dummy-virt"], "linux,dummy-virt"),
        (["QEMU", "QEMU Virtual Machine"], "QEMU"),
        (["QEMU", "Standard PC (Q35 + ICH9, 2009)", "TCGTCGTCGTCG"], "QEMU"),
        (["TCGTCGTCGTCG"], "TCGTCGTCGTCG"),
    ],
)
def test_a_machine_that_calls_itself_an_emulation_is_never_trusted(hardware, name):
    (reason,) = reasons_against(QUIET | {"hardware": hardware}, STEADY, emulated=False)
    assert reason.startswith(f"emulated: the machine calls itself `{name}`")


@pytest.mark.parametrize(
    "hardware",
    [
        [],
        ["Raspberry Pi 4 Model B Rev 1.4", "raspberrypi,4-model-b", "brcm,bcm2711"],
        ["QEMU", "Standard PC (Q35 + ICH9, 2009)", "KVMKVMKVM"],  # a real processor runs it
        ["LENOVO", "20XW"],
    ],
)
def test_other_machines_are_judged_by_their_times(hardware):
    assert reasons_against(QUIET | {"hardware": hardware}, STEADY, emulated=False) == []


def test_a_median_far_above_the_estimate_is_not_a_board():
    slow = [163.0 + 0.01 * (i % 7) for i in range(100)]
    (reason,) = reasons_against(QUIET, slow, emulated=False, estimated_ms=5.6)
    assert "far from the estimate: a run takes 163 ms, at least 5.6 ms" in reason
    assert reasons_against(QUIET, slow, emulated=False, estimated_ms=50.0) == []
    short = [9.0 + 0.001 * (i % 7) for i in range(100)]
    assert reasons_against(QUIET, short, emulated=False, estimated_ms=0.01) == []


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (changed(busy_ticks=1400), "other load on the machine: 50%"),
        (changed(steal_ticks=40), "hypervisor took 10%"),
        (changed(frequencies_mhz=[900.0, 1000.0]), "throttled: a processor ended at 1000 of 1500 MHz"),
        (
            changed(frequencies_mhz=[1500.0, 1000.0]) | {"threads": 2},
            "throttled: a processor ended at 1000 of 1500 MHz",
        ),
        (changed(throttled=0x50005), "throttled: the firmware says so"),
        (changed(throttled=0x50000), "during the runs"),
        (QUIET | {"clock_resolution_ns": 1_000_000}, "clock too coarse"),
        (QUIET | {"threads": 4}, "4 threads on 2 processors"),
    ],
)
def test_each_disturbance_is_named_and_alone(raw, reason):
    reasons = reasons_against(raw, STEADY, emulated=False)
    assert len(reasons) == 1
    assert reason in reasons[0]


def test_processors_that_ran_nothing_are_not_throttled():
    raw = changed(frequencies_mhz=[800.0, 4900.0, 800.0, 800.0], highest_mhz=[4900.0] * 4)
    assert reasons_against(raw | {"processors": 4}, STEADY, emulated=False) == []


def test_throttling_long_ago_is_no_reason():
    raw = changed(throttled=0x50000)
    raw["before"] = STATE | {"throttled": 0x50000}
    assert reasons_against(raw, STEADY, emulated=False) == []


def test_a_wide_interval_and_few_runs_are_reasons():
    spread = [10.0, 20.0] * 20
    assert "interval too wide" in reasons_against(QUIET, spread, emulated=False)[0]
    assert "after 5 runs" in reasons_against(QUIET, STEADY[:5], emulated=False)[0]


def test_drift_is_a_reason():
    drifting = [10.0 + 0.02 * i for i in range(100)]
    assert any("drift" in reason for reason in reasons_against(QUIET, drifting, emulated=False))


def test_what_a_machine_does_not_show_is_not_held_against_it():
    blind = changed(frequencies_mhz=[], highest_mhz=[], throttled=None, temperatures_c=[])
    assert reasons_against(blind, STEADY, emulated=False) == []


def test_a_short_measurement_falls_back_on_the_load_average():
    raw = changed(wall_ns=10_000_000, busy_ticks=1000, own_ticks=100)
    assert other_load(raw) is None
    raw["before"] = STATE | {"load_average": 1.9}
    assert "load average 1.90" in reasons_against(raw, STEADY, emulated=False)[0]
    raw["before"] |= {"online": 64}  # the machine's, of which the run may use two
    assert reasons_against(raw, STEADY, emulated=False) == []
    del raw["before"]["online"]  # a runtime of an older spartanc
    assert "load average 1.90" in reasons_against(raw, STEADY, emulated=False)[0]


def test_the_interval_holds_the_median_95_times_of_100():
    generator = np.random.default_rng(0)
    held = 0
    for _ in range(400):
        low, high = median_interval(generator.exponential(1.0, 60))
        held += low <= np.log(2) <= high
    assert 0.92 <= held / 400 <= 0.99


def test_percentiles_are_values_that_were_measured():
    values = [5.0, 1.0, 3.0, 2.0, 4.0]
    result = summary(values)
    assert result == {"min": 1.0, "mean": 3.0, "p50": 3.0, "p90": 5.0, "p95": 5.0, "p99": 5.0}
