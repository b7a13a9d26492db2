"""Linears become int8 operators of our own, their GELU with them; what stays says why."""

import copy

import pytest
import torch
from torch import nn

from spartanc.passes.quantize_linears import QuantizeLinears

OURS = torch.ops.spartan.linear_int8.default
ATEN = torch.ops.aten.linear.default


class Block(nn.Module):
    def __init__(self, approximate="none"):
        super().__init__()
        torch.manual_seed(0)
        self.wide = nn.Linear(48, 200)
        self.narrow = nn.Linear(200, 48, bias=False)
        self.gelu = nn.GELU(approximate)

    def forward(self, x):
        return x + self.narrow(self.gelu(self.wide(x)))


class GeluReadTwice(Block):
    def forward(self, x):
        wide = self.wide(x)
        return self.narrow(self.gelu(wide) + wide)


class Computed(nn.Module):
    def __init__(self):
        super().__init__()
        self.stored, self.weight = nn.Linear(8, 8), nn.Parameter(torch.randn(4, 8))

    def forward(self, x, given):
        y = self.stored(x)
        y = nn.functional.linear(y, self.weight.tanh())
        return nn.functional.linear(y, given)


def _export(module, *inputs):
    return torch.export.export(module.eval(), inputs).run_decompositions({})


def _calls(program, target):
    return [node for node in program.graph.nodes if node.target is target]


def _decibels(wanted, got):
    return 10 * torch.log10(wanted.square().sum() / (got - wanted).square().sum())


class Rounded(nn.Linear):
    """A linear as the kernels compute it, written down anew: weights of 8 bits an output, inputs of 8 bits a row."""

    def forward(self, x):
        weight = self.weight.double()
        scales = weight.abs().amax(1, keepdim=True) / 127
        low, high = x.amin(-1, keepdim=True).clamp(max=0), x.amax(-1, keepdim=True).clamp(min=0)
        step = (high - low) / 255
        zero = (-low / step).round()
        inputs = ((x / step).round() + zero).clamp(0, 255) - zero
        bias = None if self.bias is None else self.bias.double()
        return nn.functional.linear(inputs.double() * step.double(), (weight / scales).round() * scales, bias).float()


def _on_rounded_linears(module):
    """`module` with its linears rounded, and all else in fp32."""
    rounded = copy.deepcopy(module)
    for each in rounded.modules():
        if isinstance(each, nn.Linear):
            each.__class__ = Rounded
    return rounded


@pytest.mark.parametrize("shape", [(1, 9, 48), (9, 48), (1, 48)])
def test_every_stored_linear_is_taken_and_its_gelu_with_it(shape):
    module, x = Block(), torch.randn(shape)
    program = _export(module, x)
    assert len(_calls(program, ATEN)) == 2
    changed, report = QuantizeLinears().run(program)
    assert report.changes == 2
    assert report.notes == {"gelus": 1}
    assert report.skipped == []
    assert [node.args[5] for node in _calls(changed, OURS)] == [True, False]
    assert not _calls(changed, ATEN)
    assert not _calls(changed, torch.ops.aten.gelu.default)
    assert QuantizeLinears().holds(program) is not None, "the input program must be left as it was"
    assert QuantizeLinears().holds(changed) is None
    assert not any(t.dim() == 2 for t in changed.state_dict.values()), "the fp32 weights must be gone"
    assert _decibels(module(x), changed.module()(x)) > 40
    assert _decibels(_on_rounded_linears(module)(x), changed.module()(x)) > 60
    assert changed.graph.output_node().args[0][0].meta["val"].shape == x.shape


@pytest.mark.parametrize("module", [Block("tanh"), GeluReadTwice()], ids=["tanh", "read twice"])
def test_another_gelu_stays_where_it_is(module):
    x = torch.randn(1, 5, 48)
    changed, report = QuantizeLinears().run(_export(module, x))
    assert report.changes == 2
    assert report.notes == {"gelus": 0}
    assert len(_calls(changed, torch.ops.aten.gelu.default)) == 1
    assert _decibels(_on_rounded_linears(module)(x), changed.module()(x)) > 60


def test_computed_and_given_weights_are_left_alone_with_their_reason():
    inputs = (torch.randn(3, 8), torch.randn(2, 4))
    module = Computed()
    changed, report = QuantizeLinears().run(_export(module, *inputs))
    assert report.changes == 1
    assert len(report.skipped) == 2
    assert all("not stored" in skipped.reason for skipped in report.skipped)
    assert QuantizeLinears().holds(changed) is None
    assert _decibels(module(*inputs), changed.module()(*inputs)) > 35


def test_a_half_precision_weight_is_left_alone_with_its_reason():
    changed, report = QuantizeLinears().run(_export(nn.Linear(8, 8).half(), torch.randn(3, 8).half()))
    assert report.changes == 0
    assert "float16" in report.skipped[0].reason
    assert len(_calls(changed, ATEN)) == 1
