"""Grids of weights: found again to the bit, scales as XNNPACK keeps them, less lost than by torchao's rule."""

from dataclasses import replace

import pytest
import torch
from torchao.quantization import IntxWeightOnlyConfig, quantize_
from torchao.quantization.granularity import PerGroup

from spartanc.passes.quantize_linears import quantize_weights
from spartanc.passes.weight_grids import GROUP, INT4, INT8, grid_of


def weights(outputs=24, inputs=96):
    return torch.randn(outputs, inputs) * torch.randn(outputs, 1).exp()


def test_integers_of_four_bits_and_scales_in_bfloat16():
    integers, scales = INT4.quantize(weights())
    assert integers.dtype is torch.int8 and scales.dtype is torch.float32
    assert integers.shape == (24, 96) and scales.shape == (24, 96 // GROUP)
    assert set(integers.flatten().tolist()) == set(range(-8, 8))
    assert torch.equal(scales, scales.bfloat16().float())


@pytest.mark.parametrize("highest", [7, 6, 3, 1])
@pytest.mark.parametrize("scale_type", [torch.bfloat16, torch.float16])
def test_weights_on_a_grid_stay_what_they_are_to_the_bit(highest, scale_type):
    """Whatever integers a group has left: GPTQ may take its largest one away."""
    grid = replace(INT4, scale_type=scale_type)
    integers = torch.randint(-highest - 1, highest + 1, (40, 3, GROUP)).float()
    scales = (torch.randn(40, 3, 1).exp() / 30).to(scale_type).float()
    on_grid = (integers * scales).flatten(1)
    assert torch.equal(grid.rounded(on_grid), on_grid)
    once = grid.rounded(weights())
    assert torch.equal(grid.rounded(once), once)


def test_less_is_lost_than_by_torchaos_rule():
    holder = torch.nn.Linear(256, 64, bias=False)
    weight = holder.weight.detach().clone()
    quantize_(holder, IntxWeightOnlyConfig(weight_dtype=torch.int4, granularity=PerGroup(GROUP)))
    theirs = (holder.weight.dequantize() - weight).square().mean()
    ours = (INT4.rounded(weight) - weight).square().mean()
    assert ours < 0.95 * theirs, "with scales in bfloat16 too"


def test_importance_moves_scales_towards_what_counts():
    weight = weights(64, 32)
    importance = torch.ones(32)
    importance[:4] = 100
    scales = INT4.scales(weight, importance)
    rounded = (weight / scales).round().clamp(-8, 7) * scales
    errors = ((rounded - weight).square() * importance).sum()
    assert errors < ((INT4.rounded(weight) - weight).square() * importance).sum()


def test_zeros_and_tiny_groups_have_usable_scales():
    weight = torch.zeros(3, 64)
    weight[1, 5] = 1e-38
    weight[2] = 1e15
    integers, scales = INT4.quantize(weight)
    assert (scales > 0).all() and scales.isfinite().all()
    assert not integers[0].any() and torch.allclose(integers[2] * scales[2, 0], weight[2], rtol=0.01)


def test_eight_bits_are_those_of_int8_programs():
    weight = weights()
    integers, scales = INT8.quantize(weight)
    expected, theirs = quantize_weights(weight)
    assert torch.equal(integers, expected) and torch.allclose(scales.flatten(), theirs, rtol=1e-6)


def test_inputs_that_groups_do_not_divide_get_eight_bits():
    assert grid_of(INT4, weights(4, 96)) is INT4
    assert grid_of(INT4, weights(4, 72)) is INT8
