"""lower: XNNPACK gets what it computes, and nothing that it would compute otherwise."""

from __future__ import annotations

import torch
from torch import nn
from torch.export import export

from spartanc.compiler.lower import lower


class Gelus(nn.Module):
    def __init__(self, approximate):
        super().__init__()
        self.linear, self.approximate = nn.Linear(8, 8), approximate

    def forward(self, x):
        return nn.functional.gelu(self.linear(x), approximate=self.approximate)


def gelus_outside(approximate: str) -> int:
    program = export(Gelus(approximate).eval(), (torch.randn(3, 8),)).run_decompositions({})
    return sum(count for name, count in lower(program).fallback_ops.items() if "gelu" in name)


def test_xnnpack_gets_the_exact_gelu_and_not_the_one_by_tanh():
    assert gelus_outside("none") == 0
    assert gelus_outside("tanh") == 1
