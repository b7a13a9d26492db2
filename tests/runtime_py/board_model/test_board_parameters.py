"""The model's figures: each with its source, one board for each target that runs under qemu."""

import tomllib

import pytest

from spartanc.base.targets.catalogue import all_targets
from spartanc.errors import MissingToolError
from spartanc.runtime_py.board_model.parameters import PARAMETERS, board_names, find_board

RAW = tomllib.loads(PARAMETERS.read_text())


@pytest.mark.parametrize("name", RAW)
def test_every_figure_has_its_source_on_its_line(name):
    for key, entry in RAW[name].items():
        assert set(entry) == {"value", "source"}, key
        assert len(entry["source"]) > 5, key
    lines = [line for line in PARAMETERS.read_text().splitlines() if "value =" in line]
    assert len(lines) == sum(map(len, RAW.values()))


def test_every_emulated_board_has_figures():
    assert set(board_names()) == {target.name for target in all_targets() if target.runs_under_qemu}


@pytest.mark.parametrize("target", [each for each in all_targets() if each.runs_under_qemu], ids=lambda each: each.name)
def test_figures_are_the_targets_where_both_have_them(target):
    board = find_board(target.name)
    assert board.cores == target.cores
    assert board.caches[0].kib << 10 == target.cache.l1d
    assert board.caches[1].kib << 10 == target.cache.l2
    assert board.divisions.fast <= board.divisions.slow


def test_a_board_that_is_not_modelled_is_named():
    with pytest.raises(MissingToolError, match="android-arm64") as error:
        find_board("android-arm64")
    assert "rpi4" in error.value.hint
