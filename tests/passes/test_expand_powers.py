"""expand_powers: squares and cubes are products, bit by bit."""

from __future__ import annotations

import torch
from torch import nn
from torch.export import export

from spartanc.passes.expand_powers import ExpandPowers

aten = torch.ops.aten


class Powers(nn.Module):
    def forward(self, x, n):
        return x.pow(2), x.pow(3.0), x.pow(0.5), n.pow(2)


def powers(program) -> int:
    return sum(node.target is aten.pow.Tensor_Scalar for node in program.graph.nodes)


def test_squares_and_cubes_become_products_and_others_stay():
    inputs = torch.randn(3, 500, generator=torch.Generator().manual_seed(0)) * 100, torch.arange(7)
    program = export(Powers(), inputs).run_decompositions({})
    assert powers(program) == 4
    assert ExpandPowers().holds(program) is not None
    result, report = ExpandPowers().run(program)
    assert (powers(result), report.changes) == (2, 2)
    assert sorted(each.reason for each in report.skipped) == ["it is a power of integers", "the exponent is 0.5"]
    assert ExpandPowers().holds(result) is None
    for got, expected in zip(result.module()(*inputs), program.module()(*inputs), strict=True):
        assert torch.equal(got.nan_to_num(), expected.nan_to_num())
