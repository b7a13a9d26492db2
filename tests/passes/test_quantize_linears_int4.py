"""Linears in 4 bits: the pattern that XNNPACK takes, what is kept wider, and what is left alone."""

import torch
from torch import nn

from spartanc.compiler.lower import lower
from spartanc.passes.keep_linears import KeepLinears
from spartanc.passes.ops.linear_int8 import rounded_inputs
from spartanc.passes.quantize_linears_int4 import QuantizeLinearsInt4
from spartanc.passes.weight_grids import INT4, INT8

_LINEAR = torch.ops.aten.linear.default


class Net(nn.Module):
    """Two linears read one input; `odd` has inputs that groups do not divide; `last` gives the logits."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(64, 40), nn.Linear(64, 40, bias=False)
        self.odd, self.last = nn.Linear(40, 32), nn.Linear(32, 3)

    def forward(self, x):
        return self.last(self.odd(torch.tanh(self.one(x)) + self.two(x)).mean(0, keepdim=True))


class Computed(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight, self.last = nn.Parameter(torch.randn(32, 32)), nn.Linear(32, 2)

    def forward(self, x, given):
        y = nn.functional.linear(x, self.weight.tanh())
        return self.last(nn.functional.linear(y, given))


def exported(module, *inputs, shapes=None):
    return torch.export.export(module.eval(), inputs, dynamic_shapes=shapes).run_decompositions({})


def net():
    module = Net()
    length = torch.export.Dim("length", min=1, max=16)
    return module, exported(module, torch.randn(5, 64), shapes=({0: length},))


def test_weights_are_on_their_grids_and_one_input_is_rounded_once():
    module, program = net()
    changed, report = QuantizeLinearsInt4().run(program)
    assert report.changes == 3 and report.notes == {"int8": 1}
    assert [each.reason for each in report.skipped] == ["it gives the logits, and stays in fp32"]
    rounded = torch.ops.quantized_decomposed.quantize_per_token.default
    assert sum(node.target is rounded for node in changed.graph.nodes) == 2
    assert QuantizeLinearsInt4().holds(program) and QuantizeLinearsInt4().holds(changed) is None
    x = torch.randn(9, 64)
    rows = rounded_inputs(x)
    y = (
        torch.tanh(rows @ INT4.rounded(module.one.weight).T + module.one.bias)
        + rows @ INT4.rounded(module.two.weight).T
    )
    y = rounded_inputs(y) @ INT8.rounded(module.odd.weight).T + module.odd.bias
    expected = module.last(y.mean(0, keepdim=True))
    assert torch.allclose(changed.module()(x), expected, atol=2e-3 * expected.abs().max().item())
    assert (changed.module()(x) - module(x)).abs().max() > 2e-3, "something was rounded"


def test_xnnpack_takes_all_of_it_in_half_a_byte_a_weight():
    _, program = net()
    lowered = lower(QuantizeLinearsInt4().run(program)[0])
    assert not [name for name in lowered.fallback_ops if "torchao" in name or "linear" in name]
    assert lowered.delegated_nodes >= 4
    wide = nn.Sequential(nn.Linear(512, 512), nn.Linear(512, 512), nn.Linear(512, 2))
    lowered = lower(QuantizeLinearsInt4().run(exported(wide, torch.randn(2, 512)))[0])
    weights = 2 * 512 * 512
    assert weights * 4.5 / 8 < len(lowered.program) < weights * 5 / 8


def test_a_linear_that_is_to_stay_wider_has_eight_bits():
    module, program = net()
    kept, _ = KeepLinears({"linear": (module.one.weight.detach(), module.one.bias.detach())}).run(program)
    changed, report = QuantizeLinearsInt4().run(kept)
    assert report.notes == {"int8": 2}
    steps = [
        node.args[-2:] for node in changed.graph.nodes
        if node.target is torch.ops.torchao.dequantize_affine.default and node.args[0].op == "placeholder"
    ]  # fmt: skip
    assert steps == [(-127, 127), (-8, 7), (-127, 127)]


def test_weights_that_are_given_or_computed_are_left_alone_with_the_reason():
    program = exported(Computed(), torch.randn(4, 32), torch.randn(32, 32))
    changed, report = QuantizeLinearsInt4().run(program)
    assert report.changes == 0 and QuantizeLinearsInt4().holds(changed) is None
    assert [each.reason for each in report.skipped][:2] == ["its weight is an input or computed, not stored"] * 2
    assert sum(node.target is _LINEAR for node in changed.graph.nodes) == 3
