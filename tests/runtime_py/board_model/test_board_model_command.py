"""benchmarks/board_model.py: what it prints, that it repeats itself, and what it says where something is missing."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from spartanc.base.cache import cache_directory
from spartanc.runtime_py.board_model.tools import missing_packages
from spartanc.runtime_py.setup_target import is_ready

ROOT = Path(__file__).parents[3]
COMMAND = ROOT / "benchmarks" / "board_model.py"
READY = not missing_packages() and is_ready("rpi4") and any(cache_directory().glob("board-model-*/root/usr/bin"))
WITH_ONNX = all(importlib.util.find_spec(name) for name in ("onnx", "onnxruntime", "onnxscript"))
SMALL = ["--layers", "1", "--hidden", "48", "--boards", "rpi4", "--lengths", "16", "--arithmetic", "int8"]
needs_setup = pytest.mark.skipif(not READY, reason="`python benchmarks/board_model.py --setup` was not run")


def command(*words, **environment):
    return subprocess.run(
        [sys.executable, COMMAND, *map(str, words)],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
    )


def test_without_the_setup_it_exits_5_and_names_the_command(tmp_path):
    done = command("--json", SPARTANC_CACHE=str(tmp_path))
    assert done.returncode == 5
    assert "--setup" in done.stderr or "apt-get install" in done.stderr
    assert done.stdout == ""


def test_missing_packages_are_named(tmp_path):
    done = command("--setup", SPARTANC_CACHE=str(tmp_path), PATH="/nonexistent")
    assert done.returncode == 5
    for package in ("apt", "qemu-user", "llvm-19"):
        assert package in done.stderr


@needs_setup
def test_an_older_build_needs_its_runtime(tmp_path):
    done = command("--older", f"abc={tmp_path}", "--keep", tmp_path)
    assert done.returncode == 2
    assert "runtime/spartan" in done.stderr


@pytest.mark.long
@pytest.mark.qemu
@needs_setup
@pytest.mark.skipif(not WITH_ONNX, reason="onnx, onnxruntime and onnxscript are not installed")
def test_ratios_repeat_themselves_and_a_build_is_as_fast_as_itself(tmp_path):
    keep = tmp_path / "programs"
    first = command("--json", "--keep", keep, *SMALL)
    assert first.returncode == 0, first.stderr
    second = command("--json", "--keep", keep, "--older", f"self={keep}", *SMALL)
    one, two = json.loads(first.stdout), json.loads(second.stdout)
    assert set(one["ratios"]) == {"int8_vs_onnx_rpi4_16", "int8_vs_recipe_rpi4_16"}
    assert set(one["modelled_ms"]) == {f"int8_{maker}_rpi4_16" for maker in ("ours", "onnx", "recipe")}
    for name, ms in one["modelled_ms"].items():
        assert two["modelled_ms"][name] == pytest.approx(ms, rel=1e-3)
        assert two["instructions"][name] == pytest.approx(one["instructions"][name], rel=1e-3)
    for name, ratio in one["ratios"].items():
        low, high = one["bands"][name]
        assert low <= ratio <= high
        theirs = name.split("_")[2]
        assert ratio == one["modelled_ms"][f"int8_{theirs}_rpi4_16"] / one["modelled_ms"]["int8_ours_rpi4_16"]
    assert two["ratios"]["int8_vs_self_rpi4_16"] == pytest.approx(1, abs=1e-3)


@pytest.mark.long
@pytest.mark.qemu
@needs_setup
@pytest.mark.parametrize("board", ["rpi3", "rpi4", "rpi5"])
def test_published_timings_are_met_as_well_as_before(board):
    done = command("--validate", "--json", "--boards", board)
    result = json.loads(done.stdout)
    assert result["worst"] <= 0.28
    assert result["mean"] <= {"rpi3": 0.12, "rpi4": 0.13, "rpi5": 0.075}[board]
