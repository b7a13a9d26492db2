"""Pieces for XNNPACK that can run one after another."""

from __future__ import annotations

import operator

import pytest
import torch
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from executorch.runtime import Runtime
from torch import nn
from torch.export import export
from torch.fx import Graph

from spartanc.compiler.acyclic_partitions import are_acyclic
from spartanc.compiler.lower import lower
from spartanc.compiler.quantize import quantize_linears
from spartanc.errors import CompileError


class TwoLinearsOfOneInput(nn.Module):
    """`cumsum` is none of XNNPACK's; the linears share the quantisation of x, and so a piece."""

    def __init__(self):
        super().__init__()
        self.first, self.last, self.logits = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 2)

    def forward(self, x):
        early = (-x).cumsum(-1) * 2
        late = self.first(x).cumsum(-1) * 2
        found = early, late, self.last(x)
        return [self.logits(each.cumsum(-1)) for each in found]


def test_pieces_that_would_need_each_other_are_put_together_anew():
    torch.manual_seed(0)
    module, inputs = TwoLinearsOfOneInput().eval(), (torch.randn(1, 4, 8),)
    program = quantize_linears(export(module, inputs).run_decompositions({}), inputs, ({},))
    with pytest.raises(CompileError, match="dependency cycles"):
        lower(program, partitioners=[XnnpackPartitioner()])
    lowered = lower(program)
    assert lowered.fallback_ops["aten::cumsum"] == 5
    assert lowered.delegates == 4
    got = Runtime.get().load_program(lowered.program).load_method("forward").execute(inputs)
    for mine, expected in zip(got, module(*inputs), strict=True):
        assert expected.std() > 0.1
        torch.testing.assert_close(mine, expected, rtol=0, atol=0.1)


def test_a_path_may_lead_through_a_whole_piece():
    graph = Graph()
    x = graph.placeholder("x")
    a1 = graph.call_function(operator.neg, (x,))
    b1 = graph.call_function(operator.neg, (a1,))
    b2 = graph.call_function(operator.abs, (x,))
    a2 = graph.call_function(operator.neg, (b2,))
    graph.output((b1, a2))
    assert are_acyclic(graph, [[a1, a2], [b1]])
    assert are_acyclic(graph, [[a1, b1], [a2, b2]])
    assert not are_acyclic(graph, [[a1, a2], [b1, b2]])


def test_a_constant_that_pieces_share_ties_none_to_the_other():
    graph = Graph()
    x, weight = graph.placeholder("x"), graph.placeholder("weight")
    first = graph.call_function(operator.add, (x, weight))
    between = graph.call_function(operator.neg, (first,))
    second = graph.call_function(operator.add, (between, weight))
    graph.output(second)
    assert are_acyclic(graph, [[weight, first], [second]])
    assert are_acyclic(graph, [[first], [weight, second]])
