"""fold_affine: factors and addends behind linears are in their weights."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.export import Dim, export

from spartanc.passes.drop_noop_ops import DropNoopOps
from spartanc.passes.fold_affine import FoldAffine
from support.captured import assert_same_results, captured

aten = torch.ops.aten


def count(program, target) -> int:
    return sum(node.target is target for node in program.graph.nodes)


def test_of_a_layer_of_mobilebert_only_residuals_are_scaled():
    """Four feed-forwards and the bottleneck's end have a residual that others read; attention's is a linear."""
    program, _ = DropNoopOps().run(captured("mobilebert"))
    scales = count(program, aten.mul.Tensor)
    result, report = FoldAffine().run(program)
    assert report.skipped == []
    assert report.changes == 2 * 2 * 8  # a factor and an addend; the embeddings' stand behind a sum with two tables
    assert scales - count(result, aten.mul.Tensor) == 2 * (8 - 5)
    assert count(program, aten.add.Tensor) - count(result, aten.add.Tensor) == 2 * 8
    assert_same_results(result, program, 1e-5)


def test_encoders_with_layer_norms_are_left_alone():
    result, report = FoldAffine().run(captured("bert"))
    assert (report.changes, report.skipped) == (0, [])
    assert [node.name for node in result.graph.nodes] == [node.name for node in captured("bert").graph.nodes]


class Affine(nn.Module):
    """Two linears of 8 to 6, a factor and an addend; `change` says how they are put together."""

    def __init__(self, change: str):
        super().__init__()
        self.change = change
        self.first, self.second = nn.Linear(8, 6, bias=change != "no bias"), nn.Linear(8, 6)
        self.factor, self.addend = nn.Parameter(torch.randn(6)), nn.Parameter(torch.randn(6))

    def forward(self, x):
        y = self.first(x)
        match self.change:
            case "other order":
                return self.addend + self.factor * y
            case "addend alone":
                return y + self.addend
            case "residual":
                y = y + x[..., :6]
            case "residual first":
                y = x[..., :6] + y
            case "two residuals":
                y = y + x[..., :6] + x[..., 2:]
            case "linear as residual":
                y = y + self.second(x)
            case "itself as residual":
                return (y + y + self.addend) * self.factor
            case "alpha":
                return torch.add(y, self.addend, alpha=2.0)
            case "a number":
                return y * 3.0
            case "read":
                return y * self.factor + y
            case "computed":
                y = nn.functional.linear(x, self.first.weight * 2)
                return y * self.factor
            case "shared":
                return y * self.factor + self.first(x + 1)
            case "rows":
                return y * x[..., :1]
        return y * self.factor + self.addend


FOLDED = {  # steps, and products that are left
    "plain": (2, 0),
    "no bias": (2, 0),
    "other order": (2, 0),
    "addend alone": (1, 0),
    "residual": (2, 1),
    "residual first": (2, 1),
    "linear as residual": (2, 0),
    "two residuals": (0, 1),
}
LEFT = {
    "itself as residual": None,
    "alpha": None,
    "a number": None,
    "rows": None,
    "read": "what the linear gives is read by something else too",
    "computed": "the linear's weights are computed, not stored",
    "shared": "another linear reads the same weights",
}


def folded(change: str):
    torch.manual_seed(0)
    length = Dim("length", min=1, max=9)
    module = Affine(change)
    program = export(module, (torch.randn(1, 5, 8),), dynamic_shapes=({1: length},)).run_decompositions({})
    result, report = FoldAffine().run(program)
    for size in (1, 5, 9):
        row = torch.randn(1, size, 8)
        expected = program.module()(row)
        assert expected.abs().max() > 0
        torch.testing.assert_close(result.module()(row), expected, rtol=1e-5, atol=1e-5)
    return result, report


@pytest.mark.parametrize("change", FOLDED)
def test_steps_go_into_the_linear(change):
    result, report = folded(change)
    assert (report.changes, count(result, aten.mul.Tensor)) == FOLDED[change]
    assert report.skipped == []


@pytest.mark.parametrize("change", LEFT)
def test_what_is_something_else_is_left_alone(change):
    _, report = folded(change)
    assert report.changes == 0
    reasons = [each.reason for each in report.skipped]
    if LEFT[change] is None:
        assert reasons in ([], ["what the linear gives is read by something else too"])
    else:
        assert reasons == [LEFT[change]]
