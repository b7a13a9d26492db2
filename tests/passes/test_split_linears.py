"""split_linears: whoever reads a part of a linear's result gets a linear of that part."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.export import Dim, export

from spartanc.passes.drop_noop_ops import DropNoopOps
from spartanc.passes.manager import run_passes
from spartanc.passes.split_linears import SplitLinears
from support.captured import assert_same_results, captured, rows

aten = torch.ops.aten


def count(program, target) -> int:
    return sum(node.target is target for node in program.graph.nodes)


def test_modernberts_projections_and_gated_units_come_apart():
    program, _ = run_passes(captured("modernbert"), [DropNoopOps()], rows())
    assert (count(program, aten.unbind.int), count(program, aten.split.Tensor)) == (2, 2)
    before = count(program, aten.linear.default)
    result, report = SplitLinears().run(program)
    assert (report.changes, report.skipped) == (4, [])
    assert (count(result, aten.unbind.int), count(result, aten.split.Tensor)) == (0, 0)
    assert count(result, aten.linear.default) == before + 2 * 2 + 2
    assert_same_results(result, program, 1e-6)


class Parts(nn.Module):
    def __init__(self, change: str):
        super().__init__()
        self.linear, self.change = nn.Linear(8, 12), change

    def forward(self, x):
        y = self.linear(x)
        if self.change == "computed weights":
            y = nn.functional.linear(x, self.linear.weight * x.sum())
        parts = y.split(5 if self.change == "unequal" else 4, 0 if self.change == "rows" else -1)
        if self.change == "whole":
            return torch.cat([part * 2 for part in parts], -1) + y
        return [part * 2 for part in parts]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("", None),
        ("rows", ""),
        ("unequal", "unequal width"),
        ("whole", "something else reads"),
        ("computed weights", "computed, not stored"),
    ],
)
def test_what_stays_says_why(change, reason):
    torch.manual_seed(0)
    module, x = Parts(change), torch.randn(8, 8)
    program = export(module, (x,), dynamic_shapes=({0: Dim("n", min=2, max=30)},) if change == "" else None)
    program = program.run_decompositions({})
    assert count(program, aten.split.Tensor) == 1
    result, report = SplitLinears().run(program)
    assert count(result, aten.split.Tensor) == (reason is not None)
    assert len(report.skipped) == bool(reason)
    assert all(reason in each.reason for each in report.skipped)
    for got, expected in zip(result.module()(x), module(x), strict=True):
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-6)
