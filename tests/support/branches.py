"""A small module whose operators are traced in the order of a collection of names."""

from __future__ import annotations

import torch
from torch import nn
from torch.export import ExportedProgram

from spartanc.compiler.capture import dynamic_shapes, example_inputs


class Branches(nn.Module):
    """Computes its branches in the order in which `names` gives them, and adds them up in another, fixed one."""

    NAMES = ("full_attention", "sliding_attention", "chunked_attention")

    def __init__(self, names):
        super().__init__()
        torch.manual_seed(0)
        self.words = nn.Embedding(64, 4)
        self.branches = nn.ModuleDict({name: nn.Linear(4, 4) for name in self.NAMES})
        self.names = names

    def forward(self, input_ids, attention_mask):
        x = self.words(input_ids) * attention_mask[..., None]
        made = {}
        for name in self.names:
            made[name] = self.branches[name](x).tanh()
        return sum(made[name] for name in self.NAMES).sum(1)


def traced(module: nn.Module) -> ExportedProgram:
    """As torch.export leaves it."""
    shapes = dynamic_shapes(16)
    return torch.export.export(module, example_inputs(8), dynamic_shapes=shapes, strict=False).run_decompositions({})
