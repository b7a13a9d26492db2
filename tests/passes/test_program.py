"""Programs as passes change them: constants."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from spartanc.passes.program import add_constant, constant_tensor, copy_program


class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("factor", torch.full((3,), 2.0))

    def forward(self, x):
        return x * self.factor


def test_a_constant_has_its_own_name_and_is_there_once():
    program = copy_program(torch.export.export(Scaled(), (torch.ones(3),)))
    added = add_constant(program, "addend", torch.ones(3))
    assert torch.equal(constant_tensor(program, added), torch.ones(3))
    assert add_constant(program, "addend", torch.ones(3)) is added
    for taken in ("factor", "addend"):
        with pytest.raises(ValueError, match=f"another constant `{taken}`"):
            add_constant(program, taken, torch.zeros(3))
    assert torch.equal(program.state_dict["factor"], torch.full((3,), 2.0))
