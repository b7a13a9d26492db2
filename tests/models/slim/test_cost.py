"""Widths for a modelled speed."""

import pytest

from spartanc.base.targets.catalogue import find_target
from spartanc.errors import MissingToolError, UsageError
from spartanc.models.slim.cost import STEP, Shape, modelled_ms, narrower, units_for

MINILM = Shape(6, 384, 12, 1536)


@pytest.mark.parametrize("board", ["rpi3", "rpi4", "rpi5"])
@pytest.mark.parametrize("length", [16, 128])
def test_the_widest_encoder_that_is_fast_enough_is_taken(board, length):
    target = find_target(board)
    units = units_for(MINILM, target, length, 1.2)
    dense = modelled_ms(MINILM, target, length)
    assert dense / modelled_ms(narrower(MINILM, units), target, length) >= 1.2
    assert dense / modelled_ms(narrower(MINILM, units + STEP), target, length) < 1.2
    assert units % STEP == 0


# Milliseconds by the board model (docs/board-model.md) for 6 layers of 384, 1,536 and 768 units, at 16 and 128 tokens.
BY_THE_BOARD_MODEL = {
    "rpi3": ((40.91, 352.3), (28.74, 257.7)),
    "rpi4": ((16.18, 122.4), (11.22, 89.2)),
    "rpi5": ((2.998, 24.37), (2.160, 18.10)),
}


@pytest.mark.parametrize("board", BY_THE_BOARD_MODEL)
def test_times_are_those_of_the_board_model(board):
    for units, times in zip((1536, 768), BY_THE_BOARD_MODEL[board], strict=True):
        found = [modelled_ms(narrower(MINILM, units), find_target(board), length) for length in (16, 128)]
        assert found == pytest.approx(times, rel=0.01)


def test_a_speed_out_of_reach_says_what_is_in_reach():
    with pytest.raises(UsageError, match=r"at most [12]\.\d\d times as fast on rpi4"):
        units_for(MINILM, find_target("rpi4"), 128, 5.0)


@pytest.mark.parametrize("speedup", [1.0, 0.5, float("nan")])
def test_a_speed_up_is_above_one(speedup):
    with pytest.raises(UsageError, match="above 1"):
        units_for(MINILM, find_target("rpi4"), 128, speedup)


def test_a_target_without_figures_is_named():
    with pytest.raises(MissingToolError, match="host"):
        units_for(MINILM, find_target("host"), 128, 1.2)
