"""drop_batch_dimension: attention of one sentence in three dimensions, and far fewer delegates for it."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.export import export

from spartanc.compiler.lower import lower
from spartanc.passes.drop_batch_dimension import DropBatchDimension
from spartanc.passes.drop_noop_ops import DropNoopOps
from spartanc.passes.fuse_memories import FuseMemories
from spartanc.passes.manager import check_order, run_passes
from spartanc.passes.pack_memories import PackMemories
from support.captured import assert_same_results, captured, rows

aten = torch.ops.aten


def products(program) -> int:
    return sum(n.target is aten.matmul.default and n.meta["val"].dim() == 4 for n in program.graph.nodes)


@pytest.mark.parametrize("architecture", ["bert", "roberta", "distilbert", "electra", "mpnet"])
def test_attention_of_every_encoder_loses_its_batch(architecture):
    program = captured(architecture)
    assert products(program) == 4
    result, report = DropBatchDimension().run(program)
    assert (report.changes, report.skipped, products(result)) == (4, [], 0)
    assert DropBatchDimension().holds(result) is None
    assert_same_results(result, program, 1e-6)


def test_two_delegates_a_layer_and_one_at_each_end():
    fused, _ = FuseMemories().run(captured())
    given = check_order([FuseMemories()])
    packed, _ = run_passes(fused, [PackMemories()], rows(), given)
    slim, _ = run_passes(fused, [DropNoopOps(), DropBatchDimension(), PackMemories()], rows(), given)
    before, after = lower(packed), lower(slim)
    assert before.delegates >= 18
    assert after.delegates <= 6
    assert "aten::view_copy" not in after.fallback_ops
    assert "aten::expand_copy" not in after.fallback_ops


class Scores(nn.Module):
    """Products whose results are read in four dimensions as well, with and without a batch of one."""

    def forward(self, q, k):
        scores = torch.softmax(q @ k.transpose(2, 3) * 0.5, 1)
        return scores, (q @ k.transpose(-1, -2)).sum(0)


@pytest.mark.parametrize("batch", [1, 2])
def test_what_is_read_in_four_dimensions_has_them(batch):
    torch.manual_seed(0)
    inputs = torch.randn(batch, 3, 5, 4), torch.randn(batch, 3, 6, 4)
    program = export(Scores(), inputs).run_decompositions({})
    result, report = DropBatchDimension().run(program)
    assert report.changes == (2 if batch == 1 else 0)
    assert [s.reason for s in report.skipped] == [] if batch == 1 else ["the batch isn't fixed at 1"] * 2
    for got, expected in zip(result.module()(*inputs), program.module()(*inputs), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-6, atol=1e-6)
