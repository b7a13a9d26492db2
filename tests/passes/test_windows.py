"""windows: a mask is taken for a sliding window where that is proved, and for nothing else."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.export import Dim, export

from spartanc.passes.windows import Window, read_window

LOWEST = -3.4e38


class Masks(nn.Module):
    """Scores plus a mask [1, 1, L, L], made by `form` from q - k, the kept columns and the kept rows."""

    def __init__(self, form):
        super().__init__()
        self.form = form

    def forward(self, ids, mask):
        places = torch.arange(ids.shape[1])
        apart = places[None, None, :, None] - places[None, None, None, :]
        return ids[:, None, :, None] + self.form(apart, mask[:, None, None, :].bool(), mask[:, None, :, None].bool())


def added(kept):
    return torch.where(kept, 0.0, LOWEST)


def read(form, longest: int = 64) -> Window | None:
    length = Dim("length", min=1, max=longest)
    example = torch.arange(4)[None], torch.ones(1, 4, dtype=torch.long)
    program = export(Masks(form), example, dynamic_shapes=({1: length}, {1: length})).run_decompositions({})
    (result,) = [node for node in program.graph.nodes if node.op == "output"]
    scores = result.args[0][0]
    (mask,) = [node for node in program.graph.nodes if node.op == "placeholder" and node.name == "mask"]
    return read_window(program, scores.args[1], mask)


@pytest.mark.parametrize(
    ("form", "reach"),
    [
        (lambda apart, columns, rows: added((apart.abs() <= 3) & columns), 3),
        (lambda apart, columns, rows: added(columns & (apart.abs() < 3)), 2),
        (lambda apart, columns, rows: added((apart.abs() <= 0) & columns & (apart < 1000)), 0),
        (lambda apart, columns, rows: torch.where(apart.abs() <= 5, added(columns), LOWEST), 5),
    ],
)
def test_windows_are_read(form, reach):
    found = read(form)
    assert found is not None
    assert (found.reach, found.kept) == (reach, 0.0)
    assert found.masked == pytest.approx(LOWEST)


@pytest.mark.parametrize(
    "form",
    [
        lambda apart, columns, rows: added(columns & (apart == apart)),  # no window
        lambda apart, columns, rows: added((apart.abs() <= 3) & columns & (apart >= 0)),  # to the left alone
        lambda apart, columns, rows: added((apart.abs() <= 3) | columns),
        lambda apart, columns, rows: added((apart.abs() <= 3) & rows),
        lambda apart, columns, rows: added((apart.abs() <= 3) & rows & columns),
        lambda apart, columns, rows: added((apart.abs() <= 3) & columns) - apart.abs(),  # a slope (ALiBi)
        lambda apart, columns, rows: added((apart.abs() <= -1) & columns),
        lambda apart, columns, rows: added(((apart + 1).abs() <= 3) & columns),
        lambda apart, columns, rows: torch.where(apart.abs() <= 3, added(columns), -1.0),  # another number beyond
        lambda apart, columns, rows: added((apart.abs() <= 3) & (apart.abs() <= 2) & columns),  # two of them
        lambda apart, columns, rows: added((apart.abs() <= 3)[:, :, :1].expand(apart.shape) & columns),  # one row of it
        lambda apart, columns, rows: added((apart.abs() <= 3).flip(3) & columns),  # mirrored
    ],
)
def test_other_masks_are_none(form):
    assert read(form) is None


def test_a_window_of_thousands_of_tokens_is_read_at_once():
    assert read(lambda apart, columns, rows: added((apart.abs() <= 64) & columns), 8192) == Window(
        64, 0.0, float(torch.tensor(LOWEST))
    )
