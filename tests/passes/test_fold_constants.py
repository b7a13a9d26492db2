"""fold_constants: what stored tensors alone make is stored, and nothing else."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.export import Dim, export

from spartanc.passes.drop_noop_ops import DropNoopOps
from spartanc.passes.fold_constants import FoldConstants
from spartanc.passes.program import constant_tensor
from support.captured import assert_same_results, captured

aten = torch.ops.aten


def test_debertas_table_of_positions_is_normalised_and_projected_once():
    program, _ = DropNoopOps().run(captured("deberta-v2"))
    assert FoldConstants().holds(program) is not None
    result, report = FoldConstants().run(program)
    # Of both layers keys and queries of 16 rows of 32, and three scales; and a logarithm that buckets are made by.
    assert (report.changes, report.skipped) == (2 * (2 + 3) + 1, [])
    assert report.notes["numbers stored"] == 2 * (2 * 16 * 32 + 3) + 1
    assert FoldConstants().holds(result) is None
    linears = [node for node in result.graph.nodes if node.target is aten.linear.default]
    assert len(linears) == sum(node.target is aten.linear.default for node in program.graph.nodes) - 2 * 2
    assert all(constant_tensor(result, node.args[0]) is None for node in linears)
    assert_same_results(result, program, 0.0)


@pytest.mark.parametrize("architecture", ["bert", "roberta", "mpnet", "albert"])
def test_encoders_without_such_tables_are_left_as_they_are(architecture):
    result, report = FoldConstants().run(captured(architecture))
    assert report.changes == 0
    assert [node.name for node in result.graph.nodes] == [node.name for node in captured(architecture).graph.nodes]


class Sums(nn.Module):
    """`x` through tables that are rearranged, widened, of the length of `x`, and computed with."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(8, 8)
        self.table = nn.Parameter(torch.randn(8, 8))
        self.halves = nn.Buffer(torch.randn(8).half())

    def forward(self, x):
        length = torch.arange(x.shape[1])[:, None].float()
        return x @ self.table.t() + self.halves.float() + length + self.inner(self.table)[0]


def test_a_tensor_that_is_only_rearranged_or_widened_stays_as_it_is():
    program = export(Sums(), (torch.randn(1, 5, 8),), dynamic_shapes=({1: Dim("length", min=2, max=9)},))
    program = program.run_decompositions({})
    result, report = FoldConstants().run(program)
    assert report.changes == 1
    left = {node.target for node in result.graph.nodes if node.op == "call_function"}
    assert aten.linear.default not in left
    assert {aten._to_copy.default, aten.arange.start_step} & left
    x = torch.randn(1, 7, 8)
    assert torch.equal(result.module()(x), program.module()(x))
