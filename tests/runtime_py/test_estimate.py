"""Estimates: the arithmetic of the roofline, and loops read off the very library that goes to a board."""

import shutil

import pytest

from spartanc.base.targets.catalogue import find_target
from spartanc.runtime_py.estimate import estimate, estimates, memory_kernel_loops, polynomial
from spartanc.runtime_py.setup_target import is_ready

# 7.1 million multiply-adds a token, as a layer of BERT-base has, and no weights to wait for.
ARITHMETIC = [{"op": "linear", "calls": 6, "macs": [0, 7.1e6, 0], "activation_bytes": [0, 0, 0], "weight_bytes": 0}]
WEIGHTS = [{"op": "linear", "calls": 1, "macs": [0, 1, 0], "activation_bytes": [0, 0, 0], "weight_bytes": 400_000_000}]


def test_arithmetic_is_held_against_the_peak_of_all_cores():
    row = estimate(ARITHMETIC, find_target("rpi4"), 128, "none")
    # four cores, four multiply-adds a cycle, 1.5 GHz
    assert row["estimated_ms"] == pytest.approx(7.1e6 * 128 / (4 * 4 * 1.5e9) * 1000)
    assert row["bound_by"] == "arithmetic"
    assert estimate(ARITHMETIC, find_target("rpi4"), 128, "none", threads=1)["estimated_ms"] == pytest.approx(
        4 * row["estimated_ms"]
    )


def test_weights_are_held_against_the_bandwidth_and_shrink_in_int8():
    full = estimate(WEIGHTS, find_target("rpi4"), 1, "none")
    assert full["estimated_ms"] == pytest.approx(100)
    assert full["bound_by"] == "memory"
    assert estimate(WEIGHTS, find_target("rpi4"), 1, "int8")["estimated_ms"] == pytest.approx(25)


def test_every_board_gets_a_row_and_the_faster_board_less_time():
    rows = {row["target"]: row["estimated_ms"] for row in estimates(ARITHMETIC, 64, "none")}
    assert {"rpi3", "rpi4", "rpi5"} <= set(rows)
    assert rows["rpi5"] < rows["rpi4"] < rows["rpi3"]


def test_a_polynomial_counts_its_powers():
    assert polynomial([1, 2, 3], 10) == 321


@pytest.mark.skipif(not is_ready("rpi4"), reason="`spartanc setup rpi4` was not run")
@pytest.mark.skipif(not all(map(shutil.which, ("llvm-mca", "llvm-objdump"))), reason="llvm is missing")
@pytest.mark.parametrize("name", ["rpi3", "rpi4"])
def test_the_memory_kernels_loops_are_found_and_within_the_peak(name):
    target = find_target(name)
    rows = memory_kernel_loops(target)
    assert any("logits" in row["function"] or "dots" in row["function"] for row in rows)
    best = max(row["multiply_adds_per_cycle"] for row in rows)
    assert target.peak_macs_per_cycle["fp32"] / 4 < best <= target.peak_macs_per_cycle["fp32"]
