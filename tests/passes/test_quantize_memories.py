"""Quantised memories stay close to fp32, and every cell survives torchao as it is said to."""

import pytest
import torch
from torch import nn

from spartanc.errors import UsageError
from spartanc.passes.quantize_memories import QuantizeMemories, quantize_cells
from spartanc.passes.schemes.int4_memories import INT4_CELLS
from spartanc.passes.schemes.int8 import INT8_CELLS


class Memory(nn.Module):
    def __init__(self, parents, cells, top_k, hidden):
        super().__init__()
        torch.manual_seed(3)
        self.top_k = top_k
        self.parents = nn.Parameter(torch.randn(parents, hidden))
        self.keys = nn.Parameter(torch.randn(cells, hidden) / hidden**0.5)
        self.values = nn.Parameter(torch.randn(cells, hidden))

    def forward(self, x):
        return x + torch.ops.spartan.memory_lookup(x, self.parents, self.keys, self.values, self.top_k, 1.6)


@pytest.mark.parametrize(("form", "decibels"), [(INT8_CELLS, 35), (INT4_CELLS, 15)], ids=["int8", "int4"])
@pytest.mark.parametrize(("parents", "cells", "top_k"), [(4, 12, 2), (4, 4, 1), (5, 5, 5), (20, 400, 2), (1, 3, 1)])
def test_signal_to_noise(form, decibels, parents, cells, top_k):
    module, x = Memory(parents, cells, top_k, 64).eval(), torch.randn(1, 9, 64)
    program = torch.export.export(module, (x,)).run_decompositions({})
    quantised, report = QuantizeMemories(form).run(program)
    assert report.changes == 1
    assert report.notes["residuals"] == 1
    assert QuantizeMemories(form).holds(quantised) is None
    added, noise = module(x) - x, quantised.module()(x) - module(x)
    assert 10 * torch.log10(added.square().sum() / noise.square().sum()) > decibels


@pytest.mark.parametrize("bits", [8, 4])
def test_zero_cells_and_outliers(bits):
    cells = torch.zeros(3, 64)
    cells[1] = torch.linspace(-1, 1, 64)
    cells[2, 5] = -1e4
    whole, scale = quantize_cells(cells, bits)
    assert whole.dtype == torch.int8
    assert int(whole.min()) >= -(2 ** (bits - 1))
    assert int(whole.max()) < 2 ** (bits - 1)
    wide = scale[:, None] if bits == 8 else scale.repeat_interleave(32, 1)
    back = whole * wide
    assert torch.isfinite(back).all()
    assert torch.equal(back[0], cells[0])
    assert ((back - cells).abs() <= wide.expand_as(cells) * 1.001).all()
    assert back[2, 5] == pytest.approx(-1e4, rel=0.1)


def test_groups_that_do_not_divide_the_hidden_size_are_refused_with_what_is_possible():
    with pytest.raises(UsageError, match="48") as caught:
        quantize_cells(torch.zeros(2, 48), 4)
    assert "int8" in caught.value.hint
