"""fuse_attention: three products become one, and scores never leave the operator."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.export import Dim, export

from spartanc.compiler.capture import capture
from spartanc.passes.fuse_attention import FuseAttention
from spartanc.passes.manager import run_passes
from spartanc.passes.pipelines import exact_passes
from spartanc.passes.program import constant_tensor
from support.captured import assert_same_results, captured, rows
from support.models import tiny_model

aten = torch.ops.aten
FUSED = torch.ops.spartan.attention.default
WINDOWED = torch.ops.spartan.window_attention.default


def count(program, target) -> int:
    return sum(node.target is target for node in program.graph.nodes)


@pytest.mark.parametrize("architecture", ["bert", "roberta", "distilbert", "electra"])
def test_attention_of_every_layer_is_fused(architecture):
    program, _ = run_passes(captured(architecture), exact_passes(stock=True), rows())
    assert count(program, aten.bmm.default) == 4
    result, report = FuseAttention().run(program)
    assert (report.changes, report.skipped, count(result, FUSED), count(result, aten.bmm.default)) == (2, [], 2, 0)
    # The last layer's queries are of one position; the others' come from the input of keys and values.
    assert report.notes["products merged"] == 5
    assert count(result, aten.linear.default) == count(program, aten.linear.default) - 3
    assert_same_results(result, program, 1e-5)


def test_a_layer_that_is_applied_again_keeps_one_copy_of_its_weights():
    """Of query, of keys and values, of both linears behind them, of the feed-forward's, and the three around it."""
    program, reports = run_passes(captured("albert"), exact_passes(), rows())
    fused = next(each for each in reports if each.name == FuseAttention.name)
    assert (fused.changes, fused.notes["products merged"]) == (2, 4)
    linears = [node for node in program.graph.nodes if node.target is aten.linear.default]
    weights = [constant_tensor(program, node.args[1]) for node in linears]
    assert len(linears) == 2 * 5 + 3
    assert len({weight.detach().numpy().tobytes() for weight in weights}) == 5 + 3
    assert_same_results(program, captured("albert"), 1e-5)


@pytest.mark.parametrize("architecture", ["modernbert", "nomic_bert"])
def test_queries_and_keys_that_are_rotated_come_side_by_side_with_values(architecture):
    program, _ = run_passes(captured(architecture), exact_passes(stock=True), rows())
    assert count(program, aten.bmm.default) == 4
    result, report = FuseAttention().run(program)
    assert (report.changes, report.skipped, count(result, aten.bmm.default)) == (2, [], 0)
    assert count(result, FUSED) + count(result, WINDOWED) == 2
    assert count(result, aten.cat.default) == 2
    assert_same_results(result, program, 1e-5)


def test_values_of_another_input_than_queries_and_keys_come_side_by_side():
    program, _ = run_passes(captured("mobilebert"), exact_passes(stock=True), rows(shortest=3))
    assert count(program, aten.bmm.default) == 4
    result, report = FuseAttention().run(program)
    assert (report.changes, report.skipped, count(result, FUSED), count(result, aten.bmm.default)) == (2, [], 2, 0)
    # The last layer's query is of one position, and nothing is left to merge there.
    assert report.notes["products merged"] == 2
    assert count(result, aten.cat.default) - count(program, aten.cat.default) == 2
    assert_same_results(result, program, 1e-5)


@pytest.mark.parametrize(("length", "windows"), [(30, 2), (7, 0)])
def test_a_window_narrower_than_the_text_is_attentions_own(length, windows):
    """In two layers of three; the last one reads the first row of it."""
    program, _ = run_passes(capture(tiny_model("modernbert", layers=3).module, length), exact_passes(stock=True), [])
    result, report = FuseAttention().run(program)
    assert (report.changes, report.skipped) == (3, [])
    found = [node for node in result.graph.nodes if node.target is WINDOWED]
    assert (count(result, FUSED), [node.args[4] for node in found]) == (3 - windows, [6] * windows)
    assert count(result, aten.le.Scalar) == 0, "nothing makes squares any more"
    for size in {1, 6, 7, min(8, length), length}:
        for kept in {size, (size + 1) // 2}:
            inputs = torch.arange(size)[None] % 60 + 4, (torch.arange(size) < kept).long()[None]
            with torch.no_grad():
                torch.testing.assert_close(result.module()(*inputs), program.module()(*inputs), rtol=1e-5, atol=1e-5)


class AlmostWindowed(nn.Module):
    """Attention of one head whose scores lose `beyond` outside a window of 2; for every query that of the first one."""

    def __init__(self, beyond: float, *, of_first: bool = False):
        super().__init__()
        self.beyond, self.of_first = beyond, of_first
        self.embedding = nn.Embedding(64, 8)
        self.query, self.key, self.value = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, ids, mask):
        x, places = self.embedding(ids), torch.arange(ids.shape[1])
        near = (places[:, None] - places[None, :]).abs() <= 2
        added = torch.where(near[None, None] & mask[:, None, None, :].bool(), 0.0, self.beyond)
        if self.of_first:
            added = added[:, :, :1]
        q, k, v = (each(x).view(1, -1, 1, 8).transpose(1, 2) for each in (self.query, self.key, self.value))
        weights = (q @ k.transpose(-1, -2) + added).softmax(-1)
        return (weights @ v).transpose(1, 2).reshape(1, -1, 8).sum(1)


def test_one_row_of_a_window_for_all_queries_is_a_mask_of_columns():
    program, _ = run_passes(capture(AlmostWindowed(-1e31, of_first=True).eval(), 30), exact_passes(stock=True), [])
    result, report = FuseAttention().run(program)
    assert (report.skipped, count(result, FUSED), count(result, WINDOWED)) == ([], 1, 0)
    inputs = torch.arange(4, 24)[None], torch.ones(1, 20, dtype=torch.long)
    torch.testing.assert_close(result.module()(*inputs), program.module()(*inputs), rtol=1e-5, atol=1e-5)


def test_a_window_beyond_which_something_is_seen_is_left_alone_with_the_reason():
    for beyond, fused in ((-1e31, 1), (-5.0, 0)):
        program, _ = run_passes(capture(AlmostWindowed(beyond).eval(), 30), exact_passes(stock=True), [])
        result, report = FuseAttention().run(program)
        assert (report.changes, count(result, WINDOWED)) == (fused, fused)
        if not fused:
            assert [each.reason for each in report.skipped] == [
                "what is beyond the window is still looked at: -5.0 is added to its scores"
            ]


def test_relative_positions_are_left_alone_with_the_reason():
    program, _ = run_passes(captured("mpnet"), exact_passes(stock=True), rows())
    result, report = FuseAttention().run(program)
    assert (report.changes, count(result, aten.bmm.default)) == (0, 4)
    assert len(report.skipped) == 2
    assert all("scores" in each.reason for each in report.skipped)


class Layer(nn.Module):
    """Attention of 2 heads of 4; `change` spoils it in one place."""

    def __init__(self, change: str):
        super().__init__()
        self.change = change
        self.query, self.key, self.value = nn.Linear(8, 8), nn.Linear(8, 8, bias=False), nn.Linear(8, 8)

    def forward(self, x, mask):
        def split(y):
            return y.view(-1, 2, 4)

        q, k = split(self.query(x)).permute(1, 0, 2), split(self.key(x)).permute(1, 2, 0)
        v = split(self.value(x * 2 if self.change == "other input" else x)).permute(1, 0, 2)
        scores = torch.bmm(q, k)
        if self.change != "no mask":
            scores = scores + (mask.transpose(1, 2) if self.change == "rows" else mask)
        weights = torch.softmax(scores, 1 if self.change == "axis" else -1)
        y = torch.bmm(weights, v).permute(1, 0, 2).contiguous().view(1, -1, 8)
        return y + scores.sum() if self.change == "read" else y


REASONS = {
    "none": None,
    "no mask": None,
    "other input": None,
    "rows": "what is added to the scores is neither a mask of columns nor a window",
    "axis": "the softmax isn't over the keys",
    "read": "a step of it is read by something else too",
}


@pytest.mark.parametrize("change", REASONS)
def test_only_attention_is_taken(change):
    torch.manual_seed(0)
    length = Dim("length", min=2, max=9)
    inputs = torch.randn(1, 5, 8), torch.randn(1, 1, 5)
    shapes = ({1: length}, {2: length})
    program = export(Layer(change), inputs, dynamic_shapes=shapes).run_decompositions({})
    result, report = FuseAttention().run(program)
    reason = REASONS[change]
    assert count(result, FUSED) == report.changes == (reason is None)
    assert [each.reason for each in report.skipped] == ([] if reason is None else [reason])
    for row in (inputs, (torch.randn(1, 7, 8), torch.randn(1, 1, 7))):
        got, expected = result.module()(*row), program.module()(*row)
        assert expected.abs().max() > 0
        torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)
