"""fuse_relative_attention: DeBERTa's scores become one operator whose tables hold the distances in reach."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.export import Dim, export

from spartanc.compiler.capture import capture
from spartanc.passes.distances import Distances
from spartanc.passes.drop_noop_ops import DropNoopOps
from spartanc.passes.fold_constants import FoldConstants
from spartanc.passes.fuse_memories import FuseMemories
from spartanc.passes.fuse_relative_attention import FuseRelativeAttention
from spartanc.passes.manager import run_passes
from spartanc.passes.pipelines import exact_passes
from spartanc.passes.program import constant_tensor
from support.captured import MAX_LENGTH, assert_same_results, captured, rows
from support.models import DEBERTA_LAYOUTS, tiny_model

aten = torch.ops.aten
FUSED = torch.ops.spartan.attention.relative
TABLES = {
    "to keys alone": [True, False],
    "to queries alone": [False, True],
    "no relative positions": [False, False],
}


def targets(program) -> list:
    return [node.target for node in program.graph.nodes]


def ready(program):
    for each in (FuseMemories(), DropNoopOps(), FoldConstants()):
        program, _ = each.run(program)
    return program


@pytest.mark.parametrize("layout", ["v3", *DEBERTA_LAYOUTS])
def test_every_layout_is_fused(layout):
    program = ready(capture(tiny_model("deberta-v2", changes=DEBERTA_LAYOUTS.get(layout)).module, MAX_LENGTH))
    assert targets(program).count(aten.softmax.int) == 2
    result, report = FuseRelativeAttention().run(program)
    assert (report.changes, report.skipped, targets(result).count(FUSED)) == (2, [], 2)
    assert not {aten.softmax.int, aten.bmm.default, aten.gather.default, aten.arange.default} & set(targets(result))
    for node in result.graph.nodes:
        if node.target is FUSED:
            assert [each is not None for each in node.args[4:6]] == TABLES.get(layout, [True, True])
            tables = [constant_tensor(result, each) for each in node.args[4:6] if each is not None]
            assert all(table.shape == (32, 80) for table in tables)  # 59 distances
    assert_same_results(result, program, 1e-5)


@pytest.mark.parametrize("kept", [[1, 0, 1, 1, 0, 0, 1], [0, 1, 1, 0, 1, 1, 1], [0, 0, 0, 0, 0, 0, 0]])
def test_masks_with_holes_and_a_masked_first_token_give_the_same(kept):
    """A query that is masked looks at all alike: its mask is a square."""
    program = captured("deberta-v2")
    result, _ = run_passes(program, exact_passes(), rows())
    assert targets(result).count(FUSED) == 2
    ids, mask = torch.arange(4, 11)[None], torch.tensor([kept])
    got, expected = result.module()(ids, mask), program.module()(ids, mask)
    assert expected.abs().max() > 0
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-5)


def test_the_last_layer_is_of_one_query_and_the_others_of_one_product():
    program, reports = run_passes(captured("deberta-v2"), exact_passes(), rows())
    merged = next(report for report in reports if report.name == "fuse_attention")
    assert (merged.changes, merged.notes["products merged"]) == (1, 3)
    first, last = (node for node in program.graph.nodes if node.target is FUSED)
    assert first.args[0] is None
    assert list(last.args[0].meta["val"].shape) == [1, 1, 32]


class Layer(nn.Module):
    """Attention of 2 heads of 4 with both kinds of distances; `change` spoils it in one place."""

    def __init__(self, change: str):
        super().__init__()
        self.change = change
        self.query, self.key, self.value = nn.Linear(8, 8), nn.Linear(8, 8, bias=False), nn.Linear(8, 8)
        self.keys, self.queries = nn.Parameter(torch.randn(2, 4, 9)), nn.Parameter(torch.randn(2, 4, 9))

    def forward(self, ids, mask):
        x = torch.stack([ids * (n + 1) / 50 for n in range(8)], -1).sin()
        length = ids.shape[1]

        def split(y):
            return y.view(1, -1, 2, 4).permute(0, 2, 1, 3).contiguous().view(2, -1, 4)

        q, k = split(self.query(x)), split(self.key(x))
        v = split(self.value(x * 2 if self.change == "other input" else x))
        places = torch.arange(length)
        distance = places[:, None] - places[None, :]
        if self.change == "places":
            distance = distance + places[None, :]
        if self.change == "length":
            distance = distance + length // 9
        index = (distance.clamp(-4, 4) + 4).clamp(0, 8)[None].expand(2, -1, -1)
        of_queries = self.queries * ids.sum() if self.change == "computed" else self.queries
        scores = torch.bmm(q, k.transpose(1, 2)) / 2
        scores = scores + torch.bmm(q, self.keys).gather(-1, index) * 0.3
        scores = scores + torch.bmm(k, of_queries).gather(-1, index).transpose(1, 2)
        if self.change == "bias":
            scores = scores + distance
        m = mask[:, None, None, :]
        square = m * (m if self.change == "columns" else m.transpose(2, 3))
        lowest = -1e4 if self.change == "filled" else torch.finfo(torch.float32).min
        filled = scores.view(-1, 2, length, length).masked_fill(~square.bool(), lowest)
        weights = filled.softmax(2 if self.change == "axis" else -1).view(-1, length, length)
        y = torch.bmm(weights, v).view(1, 2, -1, 4).permute(0, 2, 1, 3).contiguous().view(1, -1, 8)
        return y + scores.sum() if self.change == "read" else y


REASONS = {
    "none": None,
    "read": None,  # scores are then computed beside the operator too
    "other input": "keys and values aren't made of one input",
    "places": "which rows are gathered depends on more than the distance",
    "length": "which rows are gathered depends on more than the distance",
    "computed": "what rows are gathered of is computed, not stored",
    "bias": "scores add `aten.add.Tensor`, which is no product",
    "columns": "the mask isn't a square of the attention mask",
    "filled": "scores are masked by `aten.masked_fill.Scalar`, not by the lowest number",
    "axis": "the softmax isn't over the keys",
}


@pytest.mark.parametrize("change", REASONS)
def test_only_attention_with_distances_is_taken(change):
    torch.manual_seed(0)
    length = Dim("length", min=1, max=9)
    inputs = torch.arange(5)[None], torch.ones(1, 5, dtype=torch.long)
    program = export(Layer(change), inputs, dynamic_shapes=({1: length}, {1: length})).run_decompositions({})
    program = ready(program)
    assert aten.softmax.int in targets(program)
    result, report = FuseRelativeAttention().run(program)
    reason = REASONS[change]
    assert [each.reason for each in report.skipped] == ([] if reason is None else [reason])
    assert targets(result).count(FUSED) == report.changes == (reason is None)
    assert FuseRelativeAttention().holds(result) is None
    for count in (1, 2, 8, 9):
        row = torch.arange(count)[None] + 3, torch.tensor([[1] * (count - count // 3) + [0] * (count // 3)])
        got, expected = result.module()(*row), program.module()(*row)
        assert expected.abs().max() > 0
        torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)


def test_layers_that_gather_by_the_same_index_prove_it_once():
    program = ready(captured("deberta-v2"))
    indices = [node.args[2] for node in program.graph.nodes if node.target is aten.gather.default]
    assert len(set(indices)) == 4
    distances = Distances(program)
    read = [distances.rows(index) for index in indices]
    assert read[0] is read[2]
    assert read[1] is read[3]
    assert torch.equal(read[0], read[1].flip(0))  # of keys the other way round
    # Eight buckets: within four positions each its own, from there on wider and wider.
    assert read[0].tolist() == sorted(read[0].tolist())
    assert read[0][MAX_LENGTH - 4 : MAX_LENGTH + 3].tolist() == [5, 6, 7, 8, 9, 10, 11]
    assert (read[0].min(), read[0].max()) == (1, 15)
