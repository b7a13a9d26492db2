"""The modelled time in `spartanc bench`: a board's under emulation, the same every time, absent with its reason."""

import numpy as np
import pytest

from spartanc.errors import MissingToolError
from spartanc.runtime_py.bench import BenchPlan, bench_bundle
from spartanc.runtime_py.board_model import tools
from spartanc.runtime_py.board_model.timing import Modelled
from spartanc.runtime_py.board_model.tools import missing_packages, require_tools
from spartanc.runtime_py.devices.qemu import QemuDevice
from spartanc.runtime_py.report import render, text_summary
from spartanc.runtime_py.setup_target import is_ready
from support.bundles import make_bundle

pytestmark = [
    pytest.mark.qemu,
    pytest.mark.skipif(not is_ready("rpi4"), reason="`spartanc setup rpi4` was not run"),
]
needs_tools = pytest.mark.skipif(bool(missing_packages()), reason=f"missing: {missing_packages()}")
A_FEW = 300  # instructions: names of temporary files differ; a real model has tens of millions
PLAN = BenchPlan(length=8, threads=1, seconds=0.2, loads=1)


@pytest.fixture(scope="module")
def bundle(tiny, tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("modelled") / "bundle", tiny[0], target="rpi4")


def modelled(bundle, board, length):
    ids = np.full((1, length), 7, np.int64)
    return Modelled(**QemuDevice(board).modelled_run(bundle, bundle / "model.pte", (ids, np.ones_like(ids))))


@needs_tools
def test_two_runs_agree_but_for_the_names_of_temporary_files(bundle):
    one, two = modelled(bundle, "rpi4", 16), modelled(bundle, "rpi4", 16)
    assert one.ms == pytest.approx(two.ms, rel=0.02)
    assert one.instructions == pytest.approx(two.instructions, abs=A_FEW)
    assert one.fast_ms <= one.ms <= one.slow_ms
    assert one.all_cores_ms_at_least < one.ms


@needs_tools
def test_its_instructions_are_those_that_are_counted_apart(bundle):
    ids = np.full((1, 16), 7, np.int64)
    counted = QemuDevice("rpi5").instructions_of_a_run(bundle, bundle / "model.pte", (ids, np.ones_like(ids)))
    assert modelled(bundle, "rpi5", 16).instructions == pytest.approx(counted["instructions"], abs=A_FEW)


@needs_tools
def test_a_faster_board_and_fewer_tokens_take_less(bundle):
    assert modelled(bundle, "rpi5", 16).ms < modelled(bundle, "rpi4", 16).ms
    assert modelled(bundle, "rpi4", 4).ms < modelled(bundle, "rpi4", 16).ms


@needs_tools
def test_bench_and_its_report_say_that_it_is_modelled(bundle):
    result = bench_bundle(bundle, device="qemu", plan=PLAN).as_json()
    assert result["modelled_ms"] == result["modelled"]["ms"] > 0
    assert result["modelled"]["board"] == "rpi4"
    assert "modelled, not measured: " in text_summary(result)
    assert "Modelled, not measured" in render(result)
    assert bench_bundle(bundle, plan=PLAN).as_json()["modelled_ms"] is None


def test_without_a_tool_bench_says_what_is_missing(bundle, monkeypatch):
    monkeypatch.setattr(tools, "MCA", "no-such-mca")
    result = bench_bundle(bundle, device="qemu", plan=PLAN).as_json()
    assert result["modelled_ms"] is None
    assert "Modelled, not measured" not in render(result)
    assert any("llvm-19" in reason for reason in result["skipped_checks"])


def test_every_missing_package_is_named_at_once(monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(MissingToolError) as error:
        require_tools()
    assert error.value.exit_code == 5
    assert error.value.hint == "apt-get install qemu-user g++ llvm-19"
