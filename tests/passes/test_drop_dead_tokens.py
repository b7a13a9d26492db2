"""drop_dead_tokens: after the last layer's keys and values, one position is computed and not L of them."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.export import Dim, export

from spartanc.passes.drop_dead_tokens import DropDeadTokens
from spartanc.passes.fuse_memories import FuseMemories
from support.captured import assert_same_results, captured

aten = torch.ops.aten
LOOKUP = torch.ops.spartan.memory_lookup.default


@pytest.mark.parametrize("architecture", ["bert", "roberta", "distilbert", "electra", "mpnet"])
def test_last_layer_is_computed_for_the_pooled_token_alone(architecture):
    fused, _ = FuseMemories().run(captured(architecture))
    assert DropDeadTokens().holds(fused) is not None
    result, report = DropDeadTokens().run(fused)
    assert report.changes >= 12
    assert DropDeadTokens().holds(result) is None
    lengths = [node.meta["val"].shape[1] for node in result.graph.nodes if node.target is LOOKUP]
    assert not isinstance(lengths[0], int)
    assert lengths[1] == 1
    gelus = [node.meta["val"].shape[1] for node in result.graph.nodes if node.target is aten.gelu.default]
    assert sum(isinstance(length, int) and length == 1 for length in gelus) >= 1
    assert_same_results(result, fused, 1e-5)


class MeanPooled(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner, self.norm = nn.Linear(8, 8), nn.LayerNorm(8)

    def forward(self, x):
        return self.norm(self.inner(x)).mean(1)


class LastPooled(MeanPooled):
    def forward(self, x):
        return self.norm(self.inner(x))[:, -1]


class BothPooled(MeanPooled):
    """The first position, and all of them."""

    def forward(self, x):
        hidden = self.norm(self.inner(x))
        return hidden[:, 0], hidden.sum(1)


@pytest.mark.parametrize("kind", [MeanPooled, LastPooled, BothPooled])
def test_other_pooling_is_left_alone(kind):
    x = torch.randn(1, 5, 8)
    program = export(kind(), (x,), dynamic_shapes=({1: Dim("n", min=2, max=9)},)).run_decompositions({})
    result, report = DropDeadTokens().run(program)
    assert report.changes == 0
    assert len(list(result.graph.nodes)) == len(list(program.graph.nodes))
