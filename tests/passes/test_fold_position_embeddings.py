"""fold_position_embeddings: what does not depend on the text is one table."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.export import Dim, export

from spartanc.compiler.capture import capture
from spartanc.models.classifier import SpartanClassifier
from spartanc.models.memory import SpartanConfig
from spartanc.passes.drop_noop_ops import DropNoopOps
from spartanc.passes.fold_position_embeddings import FoldPositionEmbeddings
from support.captured import MAX_LENGTH, assert_same_results, captured
from support.models import tiny_encoder_config

aten = torch.ops.aten


def tables(program) -> int:
    return sum(node.target is aten.embedding.default for node in program.graph.nodes)


def without_segments(architecture: str):
    """A classifier whose tokenizer marks no second text, captured."""
    torch.manual_seed(0)
    spartan = SpartanConfig(parents=4, cells=12, top_k=2, temperature=1.6)
    module = SpartanClassifier(tiny_encoder_config(architecture), spartan, None).eval()
    return capture(module, MAX_LENGTH, module.min_length())


@pytest.mark.parametrize("make", [captured, without_segments])
@pytest.mark.parametrize(
    ("architecture", "before", "left"),
    [("bert", 3, 1), ("roberta", 3, 2), ("distilbert", 2, 1), ("electra", 3, 1), ("mobilebert", 3, 1)],
)
def test_one_lookup_is_left_where_positions_and_segments_are_fixed(make, architecture, before, left):
    program, _ = DropNoopOps().run(make(architecture))
    assert tables(program) == before
    if make is captured and architecture in ("bert", "electra", "mobilebert"):
        left = 2  # segments depend on the text
    result, report = FoldPositionEmbeddings().run(program)
    assert tables(result) == left
    assert report.changes == before - left
    assert len(report.skipped) == left - 1
    assert FoldPositionEmbeddings().holds(result) is None
    assert_same_results(result, program, 1e-5)


def test_positions_that_depend_on_the_text_are_left_with_the_reason():
    program, _ = DropNoopOps().run(captured("mpnet"))
    result, report = FoldPositionEmbeddings().run(program)
    assert (tables(result), report.changes) == (tables(program), 0)
    assert [each.reason for each in report.skipped] == ["its rows depend on the text"]


class Backwards(nn.Module):
    """Positions counted from the end: a shorter text does not get the table's beginning."""

    def __init__(self):
        super().__init__()
        self.words, self.positions = nn.Embedding(9, 4), nn.Embedding(9, 4)

    def forward(self, ids, mask):
        return self.words(ids) + self.positions(torch.arange(ids.shape[1]).flip(0)) + mask[..., None]


class Jump(nn.Module):
    """Texts of 11 tokens and no others count their positions from 1 on."""

    def __init__(self):
        super().__init__()
        self.words, self.positions = nn.Embedding(40, 4), nn.Embedding(40, 4)

    def forward(self, ids, mask):
        length = ids.shape[1]
        places = torch.arange(length)
        offset = torch.where((torch.full_like(places, 1).cumsum(0)[-1:] - 11).abs() > 0, 0, 1)
        return self.words(ids) + self.positions(places + offset) + mask[..., None]


@pytest.mark.parametrize(("module", "longest"), [(Backwards(), 9), (Jump(), 31)])
def test_rows_that_are_not_the_beginning_of_one_table_stay(module, longest):
    length = Dim("length", min=1, max=longest)
    example = torch.arange(4)[None], torch.ones(1, 4, dtype=torch.long)
    program = export(module, example, dynamic_shapes=({1: length}, {1: length})).run_decompositions({})
    result, report = FoldPositionEmbeddings().run(program)
    assert (tables(result), report.changes) == (2, 0)
    assert [each.reason for each in report.skipped] == ["its rows are no beginning of one table"]
    for got, expected in zip(result.module()(*example), program.module()(*example), strict=True):
        assert torch.equal(got, expected)
