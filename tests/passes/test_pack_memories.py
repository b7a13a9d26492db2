"""Packing keeps the function: residual and LayerNorm are taken in where they follow, and only there."""

import pytest
import torch
from torch import nn

from spartanc.base.schemes.catalogue import QUANTIZATIONS, SCHEMES
from spartanc.base.targets.catalogue import all_targets
from spartanc.passes.memory_site import FormChoice
from spartanc.passes.pack_memories import PackMemories
from spartanc.passes.schemes.catalogue import passes_of


class Memories(nn.Module):
    def __init__(self, tail, parents=4, cells=12, hidden=20):
        super().__init__()
        torch.manual_seed(1)
        self.parents = nn.Parameter(torch.randn(parents, hidden))
        self.keys = nn.Parameter(torch.randn(cells, hidden))
        self.values = nn.Parameter(torch.randn(cells, hidden))
        self.norm = nn.LayerNorm(hidden, eps=1e-7)
        nn.init.normal_(self.norm.weight)
        self.tail = tail

    def forward(self, x):
        y = torch.ops.spartan.memory_lookup(x, self.parents, self.keys, self.values, 2, 1.6)
        return self.tail(self, x, y)


TAILS = {
    "alone": (lambda m, x, y: y, (0, 0)),
    "residual": (lambda m, x, y: y + x, (1, 0)),
    "post_norm": (lambda m, x, y: m.norm(x + y), (1, 1)),
    "sum_used_twice": (lambda m, x, y: m.norm(x + y) + (x + y).relu(), (0, 0)),
    "scaled_residual": (lambda m, x, y: torch.add(x, y, alpha=2), (0, 0)),
    "norm_without_residual": (lambda m, x, y: m.norm(y), (0, 0)),
    "other_residual": (lambda m, x, y: y + x.tanh(), (0, 0)),
}


@pytest.mark.parametrize("name", TAILS)
@pytest.mark.parametrize(("parents", "cells"), [(4, 12), (20, 200)])
def test_packed_program_agrees_with_eager(name, parents, cells):
    tail, (residuals, norms) = TAILS[name]
    module, x = Memories(tail, parents, cells).eval(), torch.randn(2, 5, 20)
    program = torch.export.export(module, (x,)).run_decompositions({})
    assert any(node.target is torch.ops.spartan.memory_lookup.default for node in program.graph.nodes)
    packed, report = PackMemories().run(program)
    assert report.changes == 1
    assert (report.notes["residuals"], report.notes["layer_norms"]) == (residuals, norms)
    assert PackMemories().holds(packed) is None
    assert PackMemories().holds(program) is not None
    expected = module(x)
    assert expected.abs().max() > 0.1
    torch.testing.assert_close(packed.module()(x), expected, atol=1e-5, rtol=1e-5)


def test_many_cells_are_read_for_the_chosen_alone():
    assert FormChoice().packs_keys(16, 48, 8)
    assert not FormChoice().packs_keys(1365, 4095, 8)
    assert FormChoice(float("inf")).packs_keys(1365, 4095, 8)


@pytest.mark.parametrize("target", all_targets(), ids=lambda target: target.name)
@pytest.mark.parametrize("quantization", QUANTIZATIONS)
def test_the_form_is_the_targets_choice_and_the_report_says_it(target, quantization):
    up_to = target.packed_keys_up_to[quantization]
    module, x = Memories(TAILS["alone"][0], parents=8, cells=24, hidden=64).eval(), torch.randn(1, 5, 64)
    program = torch.export.export(module, (x,)).run_decompositions({})
    memories = passes_of(SCHEMES[quantization]).memories(FormChoice(up_to))
    _, report = memories.run(program)
    forms = report.notes["all_keys_in_one_product"], report.notes["keys_of_chosen_parents"]
    assert forms == ((1, 0) if up_to >= 4 else (0, 1))
    assert report.notes["one_product_up_to_times_the_chosen_cells"] == up_to


def test_computed_memories_are_left_alone_with_a_reason():
    class Computed(nn.Module):
        def forward(self, x, parents):
            return torch.ops.spartan.memory_lookup(x, parents, parents, parents, 1, 1.0)

    program = torch.export.export(Computed(), (torch.randn(3, 8), torch.randn(4, 8)))
    _, report = PackMemories().run(program)
    assert report.changes == 0
    assert "computed" in report.skipped[0].reason
