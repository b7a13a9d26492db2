"""fuse_layer_norms: residual and LayerNorm as one operator, and none of ExecuTorch's LayerNorms left."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.export import export

from spartanc.compiler.lower import lower
from spartanc.passes.fuse_layer_norms import FuseLayerNorms
from spartanc.passes.manager import check_order, run_passes
from spartanc.passes.pipelines import exact_passes, final_passes
from support.captured import assert_same_results, captured, rows

aten = torch.ops.aten


def norms(program) -> int:
    return sum(node.target is aten.layer_norm.default for node in program.graph.nodes)


@pytest.mark.parametrize("architecture", ["bert", "roberta", "distilbert", "electra", "mpnet"])
def test_every_layer_norm_of_every_encoder_is_taken(architecture):
    program, _ = run_passes(captured(architecture), exact_passes(), rows())
    assert norms(program) == 5
    result, report = FuseLayerNorms().run(program)
    assert (norms(result), report.changes, report.skipped) == (0, 5, [])
    assert report.notes["with residual"] >= 4
    assert_same_results(result, program, 1e-5)


def test_no_layer_norm_runs_outside_our_kernels():
    given = check_order(exact_passes(stock=True))
    program, _ = run_passes(captured(), exact_passes(stock=True), rows())
    fused, _ = run_passes(program, final_passes(), rows(), given)
    portable, _ = run_passes(program, final_passes(stock=True), rows(), given)
    assert "aten::native_layer_norm" not in lower(fused).fallback_ops
    assert "spartan::add_layer_norm" not in lower(portable).fallback_ops


class Norms(nn.Module):
    """What may be fused, and what must not be."""

    def __init__(self):
        super().__init__()
        self.norm, self.plain = nn.LayerNorm(6), nn.LayerNorm(6, elementwise_affine=False)
        self.two, self.wide = nn.LayerNorm([4, 6]), nn.LayerNorm(6, dtype=torch.float64)
        nn.init.normal_(self.norm.weight)

    def forward(self, x, row):
        total = x + row  # broadcast: the operator takes equal shapes only
        shared = x + x.flip(0)
        return (
            self.norm(total),
            self.norm(shared) + shared,
            self.norm(torch.add(x, x.flip(1), alpha=2)),
            self.norm(x),
            self.plain(x),
            self.two(x),
            self.wide(x.double()),
        )


def test_what_is_no_residual_stays_a_sum_and_what_is_no_row_stays_a_layer_norm():
    torch.manual_seed(0)
    inputs = torch.randn(3, 4, 6), torch.randn(6)
    program = export(Norms(), inputs).run_decompositions({})
    assert norms(program) == 7
    result, report = FuseLayerNorms().run(program)
    assert (report.changes, report.notes["with residual"], norms(result)) == (4, 0, 3)
    assert sorted(each.reason for each in report.skipped) == [
        "it has no weight",
        "it is not float32",
        "it normalises more than the last dimension",
    ]
    for got, expected in zip(result.module()(*inputs), program.module()(*inputs), strict=True):
        assert expected.abs().max() > 0
        torch.testing.assert_close(got, expected, rtol=1e-6, atol=1e-6)
