"""lower: XNNPACK gets what it computes, and nothing that it would compute otherwise."""

from __future__ import annotations

import pytest
import torch
from executorch.runtime import Runtime
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


@pytest.mark.parametrize("kind", ["buffer", "constant"])
def test_a_constant_in_the_middle_of_another_is_written_as_it_is(kind):
    """XNNPACK's serialiser takes the beginning of the other, without a word."""

    class Sliced(nn.Module):
        def __init__(self):
            super().__init__()
            part = torch.arange(64.0).reshape(8, 8)[4:]
            self.register_buffer("part", part) if kind == "buffer" else setattr(self, "part", part)

        def forward(self, x):
            return nn.functional.linear(x, self.part)

    x, module = torch.ones(1, 8), Sliced().eval()
    lowered = lower(export(module, (x,)))
    assert lowered.delegated_nodes > 0
    [found] = Runtime.get().load_program(lowered.program).load_method("forward").execute([x])
    torch.testing.assert_close(found, module(x))
