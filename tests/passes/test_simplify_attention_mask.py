"""simplify_attention_mask: a row of the mask, from the mask alone, right for every padding."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.export import Dim, export

from spartanc.passes.drop_batch_dimension import DropBatchDimension
from spartanc.passes.drop_noop_ops import DropNoopOps
from spartanc.passes.manager import run_passes
from spartanc.passes.simplify_attention_mask import SimplifyAttentionMask
from support.captured import assert_same_results, captured, rows


@pytest.mark.parametrize("architecture", ["bert", "roberta", "distilbert", "electra", "mpnet"])
def test_the_mask_of_every_encoder_becomes_a_row(architecture):
    program, _ = run_passes(captured(architecture), [DropNoopOps(), DropBatchDimension()], rows())
    result, report = SimplifyAttentionMask().run(program)
    assert (report.changes, report.skipped) == (1, [])
    assert report.notes["operators dropped"] >= 15
    assert SimplifyAttentionMask().holds(program) is not None
    assert SimplifyAttentionMask().holds(result) is None
    assert_same_results(result, program, 0.0)  # its rows are padded in places


class Masks(nn.Module):
    """Scores under four masks: of columns, causal, of the ids as well, and one that looks at the whole mask."""

    def forward(self, ids, mask):
        length = ids.shape[1]
        columns = (1.0 - mask[:, None, None, :].expand(1, 1, length, length).float()) * -1e4
        causal = torch.ones(length, length).tril()[None, None] * mask[:, None, None, :] * 2.0
        both = columns + ids[:, None, None, :]
        whole = mask[:, None, None, :].expand(1, 1, length, length).float() / (mask.sum() + 1)
        x = ids[:, None, :, None] + ids[:, None, None, :] * 0.5
        return x + columns, x * causal, x * both, x * whole


def test_other_masks_are_left_alone_with_the_reason():
    length = Dim("length", min=1, max=9)
    example = torch.arange(4)[None], torch.ones(1, 4, dtype=torch.long)
    program = export(Masks(), example, dynamic_shapes=({1: length}, {1: length})).run_decompositions({})
    result, report = SimplifyAttentionMask().run(program)
    assert report.changes == 1
    assert {each.reason for each in report.skipped} == {"it is no function of the columns' mask alone"}
    for mask in ([1, 1, 0, 1, 0], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1]):
        inputs = torch.arange(5)[None], torch.tensor([mask])
        for got, expected in zip(result.module()(*inputs), program.module()(*inputs), strict=True):
            assert torch.equal(got, expected)
