"""Evening out: the same function to the bit, less noise where channels are uneven, nothing where they are even."""

import pytest
import torch
from torch import nn

from spartanc.passes.calibration import by_weight, see_inputs, stored_linears
from spartanc.passes.even_inputs import WORTH, EvenInputs, choose_scales
from spartanc.passes.ops.linear_int8 import quantize_inputs, rounded_inputs
from spartanc.passes.quantize_linears import quantize_weights
from spartanc.passes.weight_grids import INT4
from support import applied_often


class Two(nn.Module):
    """Two linears read one input, a third another; the last one gives the logits."""

    def __init__(self, channels):
        super().__init__()
        self.register_buffer("channels", channels)
        self.one, self.two = nn.Linear(32, 24), nn.Linear(32, 24)
        self.three, self.last = nn.Linear(24, 16), nn.Linear(16, 3)

    def forward(self, x):
        x = x * self.channels
        return self.last(self.three(torch.tanh(self.one(x) + self.two(x))))


def uneven():
    channels = torch.ones(32)
    channels[5], channels[17] = 40.0, 25.0
    return channels


def exported(channels):
    module = Two(channels).eval()
    return module, torch.export.export(module, (torch.randn(1, 6, 32),)).run_decompositions({})


def texts():
    return [(torch.randn(1, 6, 32),) for _ in range(20)]


def test_an_uneven_input_is_multiplied_once_for_all_that_read_it_and_nothing_moves_a_bit():
    module, program = exported(uneven())
    changed, report = EvenInputs(texts()).run(program)
    assert report.changes == 1 and report.notes["even_already"] == 1
    assert report.notes["noise_divided_by"][0] > WORTH
    added = sum(node.target is torch.ops.aten.mul.Tensor for node in changed.graph.nodes)
    assert added == 1 + sum(node.target is torch.ops.aten.mul.Tensor for node in program.graph.nodes)
    x = torch.randn(1, 6, 32)
    assert torch.allclose(changed.module()(x), module(x), rtol=0, atol=1e-6)
    assert len(stored_linears(changed)) == 3


def test_inputs_that_meet_one_weight_get_the_same_scales_and_the_weight_stays_one():
    module, program = applied_often.exported()
    changed, report = EvenInputs(applied_often.texts()).run(program)
    assert report.changes == 3, "the three inputs of the shared weight, the first of which `other` reads too"
    assert [len(each) for each in by_weight(stored_linears(changed))] == [3, 1]
    products = [node.args[0] for node in stored_linears(changed)]
    assert len(set(products)) == 3 and len({node.args[1] for node in products}) == 1
    (x,) = applied_often.texts(1)[0]
    assert torch.allclose(changed.module()(x), module(x), rtol=0, atol=1e-5)


def test_even_inputs_are_left_alone_with_the_reason():
    _, program = exported(torch.ones(32))
    changed, report = EvenInputs(texts()).run(program)
    assert report.changes == 0 and report.notes["even_already"] == 2
    assert [node.name for node in changed.graph.nodes] == [node.name for node in program.graph.nodes]


@pytest.mark.parametrize(("size", "worth"), [(1.0, False), (10.0, False), (100.0, True), (4000.0, True)])
def test_in_four_bits_what_is_found_worth_a_product_makes_less_noise(size, worth):
    """One channel of 64: its weights cannot grow much before they swallow the steps of their group."""
    channels = torch.ones(64)
    channels[5] = size
    rows, weights = torch.randn(800, 64) * channels, torch.randn(40, 64)
    scales, gain = choose_scales(rows, weights, INT4)
    assert (gain > WORTH) == worth and scales[5] / scales[0] <= 16

    def noise(scales):
        got = rounded_inputs(rows / scales) @ INT4.rounded(weights * scales).T
        return (got - rows @ weights.T).square().mean()

    assert noise(torch.ones(64)) / noise(scales) >= (0.75 * WORTH if worth else 1)  # foretold to a factor of two


@pytest.mark.parametrize("dead", [False, True])
def test_scales_are_powers_of_two_that_make_less_noise(dead):
    rows, weights = torch.randn(500, 32) * uneven(), torch.randn(40, 32)
    if dead:
        rows[:, 3] = 0
    scales, gain = choose_scales(rows, weights)
    assert torch.equal(scales, torch.exp2(scales.log2().round()))
    assert scales[5] > scales[0] and (not dead or scales[3] == 1)

    def noise(scales):
        q, zero, step = quantize_inputs(rows / scales)
        integers, of_weights = quantize_weights(weights * scales)
        got = ((q - zero) * step) @ (integers * of_weights.unsqueeze(1)).T
        return (got - rows @ weights.T).square().mean()

    measured = noise(torch.ones(32)) / noise(scales)
    assert gain > 4 and 0.6 * gain < measured < 1.7 * gain, "what was foretold is what rounding does"


def test_zeros_keep_their_scales():
    scales, gain = choose_scales(torch.zeros(4, 8), torch.randn(3, 8))
    assert torch.equal(scales, torch.ones(8)) and gain == 1.0


def test_what_linears_read_is_seen_on_every_text():
    _, program = exported(torch.ones(32))
    seen = {}
    given = texts()
    see_inputs(program, stored_linears(program), given, lambda node, rows: seen.setdefault(node.name, []).append(rows))
    assert set(seen) == {"linear", "linear_1", "linear_2"}
    assert torch.equal(torch.cat(seen["linear"]), torch.cat([each[0][0] for each in given]))
