"""TorchScript: stock operators only, right at every length, and refused where a trace would be wrong."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from transformers import BertConfig, BertForSequenceClassification

from spartanc.compiler.torchscript import emit_torchscript, lengths_to_try
from spartanc.errors import CompileError, GateError


class DenseMemory(nn.Module):
    """The published dense masked form, in plain PyTorch."""

    def __init__(self, hidden: int, parents: int = 8, cells: int = 24, top_k: int = 3):
        super().__init__()
        self.parents = nn.Parameter(torch.randn(parents, hidden) * 0.3)
        self.keys = nn.Parameter(torch.randn(cells, hidden) * 0.3)
        self.values = nn.Parameter(torch.randn(cells, hidden) * 0.3)
        self.top_k, self.temperature = top_k, 1.6

    def forward(self, x):
        logits = x @ self.parents.T
        top, indices = logits.topk(self.top_k)
        weights = torch.full_like(logits, float("-inf")).scatter(-1, indices, top).softmax(-1)
        children = (x @ self.keys.T / self.temperature).unflatten(-1, (weights.shape[-1], -1)).softmax(-1)
        return x + (children * weights.unsqueeze(-1)).flatten(-2) @ self.values


class Classifier(nn.Module):
    """A small random BERT with a memory on top of what its layers give."""

    def __init__(self):
        super().__init__()
        config = BertConfig(
            vocab_size=60,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=48,
            max_position_embeddings=40,
            num_labels=3,
            attn_implementation="eager",
        )
        self.bert = BertForSequenceClassification(config)
        self.memory = DenseMemory(32)

    def forward(self, input_ids, attention_mask):
        hidden = self.bert.bert(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return self.bert.classifier(self.memory(hidden)[:, 0])


class Averaging(nn.Module):
    """Embeds and averages; `wrong` makes it do so in a way that a trace does not carry."""

    def __init__(self, wrong: str | None):
        super().__init__()
        self.table = nn.Embedding(30, 4)
        self.wrong = wrong

    def forward(self, input_ids, attention_mask):
        x = self.table(input_ids)
        if self.wrong == "branch" and input_ids.shape[1] > 10:
            return x.sum(1)
        if self.wrong == "foreign":
            tensors = [torch.ones(2, 4), torch.ones(4, 4), torch.ones(4, 4)]
            x = torch.ops.spartan.memory_lookup(x, *tensors, 1, 1.0)
        return x.mean(1)


def test_file_agrees_with_eager_at_every_length(tmp_path):
    torch.manual_seed(5)
    module = Classifier()
    emit_torchscript(module, tmp_path / "model.ts", 40)
    written = torch.jit.load(tmp_path / "model.ts")
    for length in range(1, 41):
        ids = torch.arange(length)[None] % 5
        torch.testing.assert_close(written(ids, torch.ones_like(ids)), module(ids, torch.ones_like(ids)))
    assert lengths_to_try(40) == tuple(range(1, 41))
    names = {node.kind() for node in written.inlined_graph.nodes()}
    assert "aten::topk" in names
    assert {name.split("::")[0] for name in names} == {"aten", "prim"}


def test_branch_on_the_length_is_caught(tmp_path):
    with pytest.raises(GateError, match="differs from eager"):
        emit_torchscript(Averaging("branch"), tmp_path / "model.ts", 16)
    assert not list(tmp_path.iterdir())
    emit_torchscript(Averaging(None), tmp_path / "model.ts", 16)
    assert (tmp_path / "model.ts").is_file()


def test_operator_that_stock_torch_lacks_is_refused(tmp_path):
    from spartanc.passes.ops import memory_lookup  # noqa: F401  defines spartan::memory_lookup

    with pytest.raises(CompileError, match="spartan::memory_lookup"):
        emit_torchscript(Averaging("foreign"), tmp_path / "model.ts", 16)
    assert not list(tmp_path.iterdir())


def test_long_limits_are_tried_round_their_powers_of_two():
    assert lengths_to_try(3) == (1, 2, 3)
    assert lengths_to_try(514)[127:] == (128, 255, 256, 257, 511, 512, 513, 514)
