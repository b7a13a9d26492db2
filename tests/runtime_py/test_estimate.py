"""Estimates: the arithmetic of the roofline."""

import pytest

from spartanc.base.targets.catalogue import find_target
from spartanc.runtime_py.estimate import estimate, estimates, polynomial

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
