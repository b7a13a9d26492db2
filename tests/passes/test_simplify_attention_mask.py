"""simplify_attention_mask: a row of the mask, from the mask alone, right for every padding."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.export import Dim, export

from spartanc.compiler.capture import capture
from spartanc.passes.drop_batch_dimension import DropBatchDimension
from spartanc.passes.drop_noop_ops import DropNoopOps
from spartanc.passes.manager import run_passes
from spartanc.passes.pipelines import exact_passes
from spartanc.passes.simplify_attention_mask import SimplifyAttentionMask
from support.captured import MAX_LENGTH, assert_same_results, captured, rows
from support.windowed import Windowed


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
    assert {each.reason for each in report.skipped} == {"it isn't proved to be a function of the columns' mask alone"}
    for mask in ([1, 1, 0, 1, 0], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1]):
        inputs = torch.arange(5)[None], torch.tensor([mask])
        for got, expected in zip(result.module()(*inputs), program.module()(*inputs), strict=True):
            assert torch.equal(got, expected)


class NotItself(nn.Module):
    """No token looks at itself: of integers, `logical_not` is true for what lies between its bounds."""

    def forward(self, ids, mask):
        places = torch.arange(ids.shape[1])
        itself = torch.logical_not(places[:, None] - places[None, :])
        kept = mask[:, None, None, :].bool() & ~itself
        return ids[:, None, :, None] + torch.zeros(kept.shape).masked_fill(~kept, -1e4)


def test_a_mask_of_each_token_itself_is_none_of_columns():
    length = Dim("length", min=1, max=9)
    example = torch.arange(4)[None], torch.ones(1, 4, dtype=torch.long)
    program = export(NotItself(), example, dynamic_shapes=({1: length}, {1: length})).run_decompositions({})
    result, report = SimplifyAttentionMask().run(program)
    assert report.changes == 0 and len(report.skipped) == 1
    assert torch.equal(result.module()(*example), program.module()(*example))


class Window(nn.Module):
    """Scores under a sliding window of `reach` positions to either side, as transformers writes it."""

    def __init__(self, reach: int):
        super().__init__()
        self.reach = reach

    def forward(self, ids, mask):
        length = ids.shape[1]
        q, k = torch.arange(length)[None, None, :, None], torch.arange(length)[None, None, None, :]
        near = (q - k).abs() <= self.reach
        kept = near & mask.bool()[torch.arange(1)[:, None, None, None], k]
        return ids[:, None, :, None] + torch.where(kept, 0.0, -1e4)


def exported(module: nn.Module, longest: int):
    length = Dim("length", min=1, max=longest)
    example = torch.arange(4)[None], torch.ones(1, 4, dtype=torch.long)
    return export(module, example, dynamic_shapes=({1: length}, {1: length})).run_decompositions({})


@pytest.mark.parametrize("reach", [1, 4, 5, 8, 62, 63, 4096])
def test_a_window_is_left_alone_unless_the_longest_text_fits_into_it(reach):
    program = exported(Window(reach), longest=64)
    result, report = SimplifyAttentionMask().run(program)
    assert (report.changes, len(report.skipped)) == ((1, 0) if reach >= 63 else (0, 1))
    for kept in ([1] * 64, [1] * 40 + [0] * 24, [1] * 7):
        inputs = torch.arange(len(kept))[None], torch.tensor([kept])
        assert torch.equal(result.module()(*inputs), program.module()(*inputs))


def test_a_window_as_long_as_a_program_of_thousands_of_tokens_is_decided_at_once():
    assert SimplifyAttentionMask().run(exported(Window(8191), longest=8192))[1].changes == 1
    assert SimplifyAttentionMask().run(exported(Window(8190), longest=8192))[1].changes == 0


class Squared(nn.Module):
    """Masks that look like masks of columns at both ends of what their parts can be, and aren't."""

    def forward(self, ids, mask):
        length = ids.shape[1]
        q, k = torch.arange(length)[:, None], torch.arange(length)
        row = mask[:, None, None, :]
        offset = q - k
        x = ids[:, None, :, None]
        square = (offset * offset > 0) * row * 1.0  # 0 on the diagonal alone
        bytes_of = ((q - k).to(torch.uint8) > 300) * row * 1.0 + (offset.to(torch.uint8) < 128) * row
        equal = (offset == 3) * row * 1.0
        other = mask[:, None, :, None] * row * 1.0
        flipped = row.flip(3).expand(1, 1, length, length) * 1.0
        return x * square, x * bytes_of, x * equal, x * other, x * flipped


def test_what_holds_at_both_bounds_only_is_no_proof():
    program = exported(Squared(), longest=9)
    _, report = SimplifyAttentionMask().run(program)
    assert report.changes == 0
    assert len(report.skipped) == 5


class OfIds(nn.Module):
    """A mask made of the ids: those of padding, 1, are left out."""

    def forward(self, ids, mask):
        length = ids.shape[1]
        row = (ids == 1)[:, None, None, :].expand(1, 1, length, length)
        return mask[:, None, :, None] + row.float() * -1e4


def test_ids_are_not_taken_for_a_mask_of_noughts_and_ones():
    program = exported(OfIds(), longest=9)
    result, report = SimplifyAttentionMask().run(program)
    assert report.changes == 0
    inputs = torch.tensor([[0, 5, 7, 1, 1]]), torch.ones(1, 5, dtype=torch.long)
    assert torch.equal(result.module()(*inputs), program.module()(*inputs))


def test_an_encoder_with_a_window_computes_what_eager_does():
    module = Windowed(8).eval()
    program, reports = run_passes(capture(module, MAX_LENGTH), exact_passes(), rows())
    (masks,) = [each for each in reports if each.name == "simplify_attention_mask"]
    assert (masks.changes, len(masks.skipped)) == (1, 1)  # of the global layer; the window's
    compiled = program.module()
    with torch.no_grad():
        for length in (1, 2, 8, 9, 10, 17, MAX_LENGTH):
            for kept in {length, (length + 1) // 2}:
                inputs = torch.arange(length)[None] + 4, (torch.arange(length) < kept).long()[None]
                assert torch.allclose(compiled(*inputs), module(*inputs), atol=1e-5)
