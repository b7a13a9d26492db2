"""drop_noop_ops: what computes nothing goes, what only looks like it stays."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.export import Dim, export

from spartanc.passes.drop_noop_ops import DropNoopOps, is_noop
from support.captured import assert_same_results, captured

aten = torch.ops.aten


@pytest.mark.parametrize("architecture", ["bert", "distilbert"])
def test_noops_of_an_encoder_go_and_results_stay_bit_for_bit(architecture):
    program = captured(architecture)
    before = str(program.graph)
    assert sum(is_noop(node) for node in program.graph.nodes if node.op == "call_function") >= 6
    result, report = DropNoopOps().run(program)
    assert DropNoopOps().holds(result) is None
    assert DropNoopOps().holds(program) is not None
    assert report.changes == sum(report.notes.values()) > 0
    assert str(program.graph) == before
    assert_same_results(result, program, 0.0)


def test_views_of_one_dynamic_size_have_no_symbols():
    result, _ = DropNoopOps().run(captured())
    views = [node for node in result.graph.nodes if node.target is aten.view.default]
    assert views
    assert all(isinstance(size, int) for view in views for size in view.args[1])


class LooksLikeNothing(nn.Module):
    def forward(self, x):
        a = x.transpose(0, 1).clone(memory_format=torch.contiguous_format)
        b = x.expand(2, -1, -1)
        return a.view(-1), b + 0.5, x[1:] * 1.5, x.to(torch.float64), x + torch.zeros(3, 1, 1)


def test_copies_that_matter_are_left_alone():
    x = torch.randn(1, 5, 4)
    program = export(LooksLikeNothing(), (x,), dynamic_shapes=({1: Dim("n", min=2, max=9)},)).run_decompositions({})
    result, _ = DropNoopOps().run(program)
    kept = {node.target for node in result.graph.nodes}
    assert {aten.clone.default, aten.expand.default, aten.slice.Tensor, aten._to_copy.default} <= kept
    for got, expected in zip(result.module()(x), program.module()(x), strict=True):
        assert torch.equal(got, expected)
