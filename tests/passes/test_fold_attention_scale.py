"""fold_attention_scale: no score is multiplied any more, and none is another."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.export import export

from spartanc.passes.drop_batch_dimension import DropBatchDimension
from spartanc.passes.drop_noop_ops import DropNoopOps
from spartanc.passes.fold_attention_scale import FoldAttentionScale
from spartanc.passes.fold_rotary_positions import FoldRotaryPositions
from spartanc.passes.manager import run_passes
from spartanc.passes.split_linears import SplitLinears
from support.captured import assert_same_results, captured, rows

aten = torch.ops.aten


def scaled(program) -> int:
    return sum(
        node.target in (aten.mul.Tensor, aten.div.Tensor) and getattr(node.args[0], "target", None) is aten.bmm.default
        for node in program.graph.nodes
    )


@pytest.mark.parametrize(
    "architecture", ["bert", "roberta", "distilbert", "electra", "mpnet", "modernbert", "nomic_bert"]
)
def test_the_scale_of_every_encoder_goes_into_its_queries(architecture):
    before = [DropNoopOps(), SplitLinears(), FoldRotaryPositions(), DropBatchDimension()]
    program, _ = run_passes(captured(architecture), before, rows())
    assert scaled(program) == 2
    result, report = FoldAttentionScale().run(program)
    assert (scaled(result), report.changes, report.skipped) == (0, 2, [])
    assert_same_results(result, program, 1e-6)


class Scores(nn.Module):
    """A power of two for a scale, and three sites where it must stay."""

    def __init__(self):
        super().__init__()
        self.query, self.key = nn.Linear(8, 8), nn.Linear(8, 8, bias=False)

    def forward(self, x, scale):
        key = self.key(x).transpose(1, 2)
        shared = self.query(x + 1)
        return (
            torch.bmm(self.query(x), key) * 0.25,
            torch.bmm(self.key(x), key) / 4,
            torch.bmm(self.query(x), key) * scale,
            torch.bmm(shared, key) * 0.25 + shared.sum(),
            torch.bmm(x, key) * 0.25,
        )


def test_a_power_of_two_is_exact_and_what_cannot_be_folded_says_why():
    torch.manual_seed(0)
    inputs = torch.randn(2, 5, 8), torch.tensor(0.5)
    program = export(Scores(), inputs).run_decompositions({})
    result, report = FoldAttentionScale().run(program)
    assert report.changes == 2
    assert [each.reason for each in report.skipped] == [
        "the scale isn't a number",
        "scores or queries are read by something else too",
        "queries come from `x`, not from a linear",
    ]
    for got, expected in zip(result.module()(*inputs), program.module()(*inputs), strict=True):
        assert expected.abs().max() > 0
        assert torch.equal(got, expected)
