"""The bench on tiny bundles: its fields, its comparisons, and what it says beside a program that burns the CPU."""

import errno
import json
import math
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from spartanc.base import pages
from spartanc.errors import UsageError
from spartanc.runtime_py.bench import BenchPlan, bench_bundle
from spartanc.runtime_py.bench_result import PageNotWrittenError
from spartanc.runtime_py.devices.device import Device
from spartanc.runtime_py.setup_target import is_ready
from support.bundles import make_bundle
from support.cli import spartanc, spartanc_json

GOLDEN = Path(__file__).parents[1] / "golden" / "roberta-v1"
QUICK = BenchPlan(length=8, threads=1, seconds=1.0, loads=1)


@pytest.fixture
def bundle(tiny, tmp_path):
    return make_bundle(tmp_path / "bundle", tiny[0])


def test_every_promised_field_is_there_and_json(bundle):
    plan = BenchPlan(length=8, threads=1, seconds=1.0, loads=2, lengths=(24, 2), thread_counts=(1, 2), operators=True)
    result = bench_bundle(bundle, plan=plan).as_json()
    promised = "device emulated threads length warmup runs load_ms latency_ms throughput_per_s peak_rss_mb"
    assert set(promised.split()) | {"trustworthy", "reasons"} <= set(result)
    assert set(result["latency_ms"]) == {"min", "mean", "p50", "p90", "p95", "p99"}
    ordered = [result["latency_ms"][name] for name in ("min", "p50", "p90", "p95", "p99")]
    assert ordered == sorted(ordered)
    assert ordered[0] > 0
    assert (result["device"], result["emulated"], result["length"], result["threads"]) == ("local", False, 8, 1)
    assert result["runs"] == len(result["run_ms"]) >= 20
    assert result["peak_rss_mb"] > 1
    assert result["load_ms"] > 0
    assert result["trustworthy"] == (not result["reasons"])
    assert [point["length"] for point in result["lengths"]] == [2, 24]
    assert [point["threads"] for point in result["thread_counts"]] == [1, 2]
    names = {row["name"] for row in result["operators"]}
    assert "embedding.out" in names
    assert any("Fully Connected" in name for name in names)
    assert sum(row["share"] for row in result["operators"]) == pytest.approx(1, abs=0.02)
    json.dumps(result, allow_nan=False)


def test_a_report_is_written_only_where_it_can_be(bundle, tmp_path):
    for wrong in (tmp_path / "missing" / "report.html", tmp_path, tmp_path / ("long" * 64)):
        with pytest.raises(UsageError, match="can't be written") as caught:
            bench_bundle(tmp_path / "no bundle", plan=QUICK, html=wrong)
        assert not isinstance(caught.value, PageNotWrittenError)
    bench_bundle(bundle, plan=QUICK, html=tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text().startswith("<!doctype html>")


def test_figures_survive_a_report_that_cannot_be_written_in_the_end(bundle, tmp_path, monkeypatch):
    def full(path, text):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(pages, "write_whole", full)
    page = tmp_path / "report.html"
    with pytest.raises(PageNotWrittenError, match="No space left") as caught:
        bench_bundle(bundle, plan=QUICK, html=page)
    assert caught.value.result.latency_ms["p50"] > 0
    words = ("bench", bundle, "--length", 8, "--threads", 1, "--seconds", 0.5, "--html", page)
    assert spartanc_json(*words, code=2)["latency_ms"]["p50"] > 0
    told = spartanc(*words)
    assert "median" in told.stdout
    assert "No space left" in told.stderr
    assert not page.exists()


def test_torchscript_is_refused_by_its_name_before_anything_runs(bundle, tiny, tmp_path, monkeypatch):
    scripted = make_bundle(tmp_path / "scripted", tiny[0], program_format="torchscript")
    monkeypatch.setattr(Device, "check_probe", lambda *_: pytest.fail("something ran"))
    for one, other in ((scripted, None), (bundle, scripted)):
        with pytest.raises(UsageError, match="scripted` holds TorchScript"):
            bench_bundle(one, baseline=other, plan=QUICK)


def test_a_bundle_of_one_task_takes_no_task(bundle):
    with pytest.raises(UsageError, match="`--task` has nothing to choose"):
        bench_bundle(bundle, task="news", plan=QUICK)


def test_a_baseline_is_run_in_turn_and_compared_pair_by_pair(bundle, tiny, tmp_path):
    other = make_bundle(tmp_path / "other", tiny[0], labels=["a", "b", "c"])
    result = bench_bundle(bundle, baseline=other, plan=QUICK).as_json()
    ratio = result["ratio"]
    assert ratio["low"] <= ratio["median"] <= ratio["high"]
    assert 0.5 < ratio["median"] < 2


def test_a_bundle_is_not_its_own_baseline(bundle):
    with pytest.raises(UsageError, match="own baseline"):
        bench_bundle(bundle, baseline=bundle, plan=QUICK)


def test_beside_a_program_that_burns_the_cpu_the_load_is_the_reason(bundle):
    burning = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(len(os.sched_getaffinity(0)))
    ]
    try:
        result = bench_bundle(
            bundle, plan=BenchPlan(length=8, threads=1, seconds=3.0, loads=1, precision=0.0)
        ).as_json()
    finally:
        for process in burning:
            process.kill()
            process.wait()
    assert not result["trustworthy"]
    assert any(reason.startswith("other load on the machine") for reason in result["reasons"])


def _share_in_use(seconds=2.0):
    """Of all processors' time, by whatever else runs here."""

    def ticks():
        values = [int(word) for word in Path("/proc/stat").read_text().split("\n")[0].split()[1:9]]
        return sum(values), values[3] + values[4]  # all, and idle or waiting for a disk

    (all_before, idle_before), _, (all_after, idle_after) = ticks(), time.sleep(seconds), ticks()
    return 1 - (idle_after - idle_before) / (all_after - all_before)


@pytest.mark.long
def test_on_a_quiet_machine_it_trusts_itself_and_beside_a_burner_it_does_not(tmp_path):
    # A program of a tenth of a millisecond at least: a tiny one is over within a few steps of the clock.
    bundle = tmp_path / "bundle"
    spartanc_json("compile", GOLDEN, "--target", "host", "--out", bundle, "--max-length", 64)
    in_use = _share_in_use()
    if in_use > 0.02:
        pytest.skip(f"the machine is not quiet: {in_use:.0%} of its processors' time is taken")
    while os.getloadavg()[0] > 0.3:  # it remembers the compile for a minute
        time.sleep(2)
    plan = BenchPlan(length=64, threads=1, seconds=10.0, loads=1)
    quiet = bench_bundle(bundle, plan=plan).as_json()
    assert quiet["trustworthy"], quiet["reasons"]
    burner = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        loaded = bench_bundle(bundle, plan=plan).as_json()
    finally:
        burner.kill()
        burner.wait()
    assert not loaded["trustworthy"]
    assert any(reason.startswith("other load on the machine") for reason in loaded["reasons"])


@pytest.mark.qemu
@pytest.mark.skipif(not is_ready("rpi4"), reason="`spartanc setup rpi4` was not run")
@pytest.mark.skipif(shutil.which("qemu-aarch64-static") is None, reason="qemu-user-static is missing")
def test_an_emulated_device_says_so_and_is_not_trusted(tiny, tmp_path):
    bundle = make_bundle(tmp_path / "board", tiny[0], target="rpi4")
    result = bench_bundle(bundle, device="qemu", plan=QUICK).as_json()
    assert result["emulated"]
    assert not result["trustworthy"]
    assert "emulated" in result["reasons"][0]


@pytest.mark.parametrize(
    "options",
    [
        {"length": 0},
        {"length": 25},
        {"lengths": (8, 25)},
        {"lengths": (8, 0)},
        {"threads": 0},
        {"thread_counts": (1, 0)},
        {"thread_counts": (1, 257)},
        {"seconds": 0.0},
        {"seconds": math.nan},
        {"seconds": 1e9},
        {"loads": 0},
    ],
    ids=str,
)
def test_a_wrong_plan_is_a_usage_error_before_anything_runs(bundle, options, monkeypatch):
    monkeypatch.setattr(Device, "check_probe", lambda *_: pytest.fail("something ran"))
    with pytest.raises(UsageError):
        bench_bundle(bundle, plan=BenchPlan(**options))


def test_an_altered_bundle_is_not_measured(bundle):
    (bundle / "model.pte").write_bytes(np.random.default_rng(0).bytes(100))
    with pytest.raises(UsageError, match=r"model\.pte"):
        bench_bundle(bundle, plan=QUICK)
