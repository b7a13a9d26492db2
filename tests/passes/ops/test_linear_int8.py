"""The int8 linear's definition: packing is undone exactly, the input is rounded as stated, the sum is exact."""

import pytest
import torch

from spartanc.passes.ops.linear_int8 import MAX_INPUTS, linear_int8, pack_weights, unpack_weights


def _layer(outputs, inputs, seed=0):
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randint(-127, 128, (outputs, inputs), generator=generator, dtype=torch.int8)
    return weight, torch.rand(outputs, generator=generator) / 100, torch.randn(outputs, generator=generator)


@pytest.mark.parametrize(("outputs", "inputs"), [(1, 1), (7, 3), (16, 64), (17, 65), (48, 384), (33, 200)])
def test_packing_is_undone_exactly(outputs, inputs):
    weight, scales, _ = _layer(outputs, inputs)
    packed = pack_weights(weight, scales)
    assert packed.blocks.shape == (-(-outputs // 16), -(-inputs // 64), 16, 16, 4)
    assert packed.blocks.is_contiguous()
    assert torch.equal(unpack_weights(packed.blocks, outputs, inputs), weight)
    assert torch.equal(packed.sums, weight.sum(1).int())
    n, k = outputs - 1, inputs - 1
    assert packed.blocks[n // 16, k // 64, k % 64 // 4, n % 16, k % 4] == weight[n, k]
    assert packed.blocks.long().sum() == weight.long().sum(), "zeros past the ends"


def test_sizes_that_the_kernels_do_not_take_are_refused():
    with pytest.raises(ValueError, match=str(MAX_INPUTS + 1)):
        pack_weights(torch.zeros(1, MAX_INPUTS + 1, dtype=torch.int8), torch.ones(1))
    with pytest.raises(ValueError, match="-128"):
        pack_weights(torch.tensor([[1, -128]], dtype=torch.int8), torch.ones(1))


@pytest.mark.parametrize(("outputs", "inputs"), [(5, 1), (20, 70), (64, 256)])
def test_results_lie_within_the_rounding_of_the_input(outputs, inputs):
    weight, scales, bias = _layer(outputs, inputs)
    torch.manual_seed(1)
    x = torch.randn(2, 6, inputs)
    x[0, 1] = 0
    x[0, 2] = 3.5
    x[1, 0, 0] = 1e4
    y = linear_int8(x, *pack_weights(weight, scales), bias, False)
    real = (weight * scales[:, None]).double()
    step = (x.amax(-1).clamp(min=0) - x.amin(-1).clamp(max=0)) / 255
    allowed = step[..., None] * real.abs().sum(1) * 1.001 + 1e-5
    assert ((y - (x.double() @ real.T + bias)).abs() <= allowed).all()
    assert torch.equal(y[0, 1], bias)
    with_gelu = linear_int8(x, *pack_weights(weight, scales), bias, True)
    assert torch.equal(with_gelu, torch.nn.functional.gelu(y))


def test_rows_that_are_no_numbers_give_none_and_touch_no_other():
    weight, scales, bias = _layer(4, 10)
    x = torch.ones(4, 10)
    x[1, 3], x[2, 9] = float("nan"), float("-inf")
    x[3] = 1e-39
    y = linear_int8(x, *pack_weights(weight, scales), bias, False)
    assert y[1:3].isnan().all()
    assert y[[0, 3]].isfinite().all()
    assert torch.equal(y[3], bias)


def test_shapes_that_disagree_are_refused():
    weight, scales, bias = _layer(4, 10)
    packed = pack_weights(weight, scales)
    for wrong in (
        (torch.zeros(2, 65), *packed, bias),
        (torch.zeros(2, 10), packed.blocks, scales[:3], packed.sums, bias),
        (torch.zeros(2, 10), *packed, bias[:3]),
    ):
        with pytest.raises(RuntimeError, match="must be"):
            linear_int8(*wrong, False)
