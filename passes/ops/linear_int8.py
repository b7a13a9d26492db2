"""`spartan::linear_int8`: a linear layer with int8 weights, its input rounded to 8 bits row by row at run time.

For row r of x [..., K], with lo = min(0, min x_r) and hi = max(0, max x_r):

    step_r = (hi - lo) / 255                                     zero_r stands for 0
    q_rk   = clamp(round(x_rk / step_r) + zero_r, 0, 255)
    y_rn   = (sum over k of (q_rk - zero_r) * w_nk) * (step_r * scale_n) + bias_n,   then the exact GELU if asked

The sum is one of integers and exact. A row with a NaN or an infinity gives NaN; one whose range lies below
255 * 2^-128 counts as zeros. The eager reference below computes what the kernels compute, without GELU bit for bit.
The layout of the weights is specified in runtime_py/native/kernels/include/spartan/linear_int8.h.

Legend: K inputs, N outputs.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from spartanc.passes.ops.define import define_operator

BLOCK_OUTPUTS = 16  # the kernels' kLinearBlockOutputs
BLOCK_INPUTS = 64  # and kLinearBlockInputs
QUAD = 4  # inputs of one output that lie side by side: what one dot-product instruction takes
MAX_INPUTS = 65536  # above, a sum might not fit 32 bits
MAX_OUTPUTS = 1 << 20
HIGHEST = 255.0

_ARGUMENTS = "Tensor x, Tensor weight_blocks, Tensor weight_scales, Tensor weight_sums, Tensor? bias, bool gelu"


class PackedWeights(NamedTuple):
    """Arguments of `spartan::linear_int8` after x, in its order.

    blocks: int8 [ceil(N / 16), ceil(K / 64), 16, 16, 4], weight n, k at [n // 16, k // 64, k % 64 // 4, n % 16, k % 4],
    zeros past N and K; scales: float32 [N]; sums: int32 [N], of each row.
    """

    blocks: Tensor
    scales: Tensor
    sums: Tensor


def pack_weights(weight_NK: Tensor, scales_N: Tensor) -> PackedWeights:
    """int8 [N, K] with weight = weight_NK * scales_N, in the kernels' layout; `unpack_weights` undoes it exactly.

    Raises ValueError for a size or a weight (-128) that the kernels do not take.
    """
    outputs, inputs = weight_NK.shape
    if not (1 <= inputs <= MAX_INPUTS and 1 <= outputs <= MAX_OUTPUTS):
        raise ValueError(f"a weight must be within [1, 1] and [{MAX_OUTPUTS}, {MAX_INPUTS}], got [{outputs}, {inputs}]")
    if (weight_NK == -128).any():  # two products with it would not fit the 16 bits of Arm's
        raise ValueError("a weight must be within -127 and 127, got -128")
    padding = (0, -inputs % BLOCK_INPUTS, 0, -outputs % BLOCK_OUTPUTS)
    padded = torch.nn.functional.pad(weight_NK.to(torch.int8), padding)
    quads = padded.unflatten(1, (-1, BLOCK_INPUTS // QUAD, QUAD)).unflatten(0, (-1, BLOCK_OUTPUTS))
    blocks = quads.permute(0, 2, 3, 1, 4).contiguous()
    return PackedWeights(blocks, scales_N.float().contiguous(), weight_NK.sum(1, dtype=torch.int32))


def unpack_weights(blocks: Tensor, outputs: int, inputs: int) -> Tensor:
    """int8 [outputs, inputs] out of `pack_weights`' blocks."""
    return blocks.permute(0, 3, 1, 2, 4).flatten(2).flatten(0, 1)[:outputs, :inputs]


def linear_int8(
    x: Tensor,
    weight_blocks: Tensor,
    weight_scales: Tensor,
    weight_sums: Tensor,
    bias: Tensor | None,
    gelu: bool,
) -> Tensor:
    """float32 [..., N] from float32 x [..., K] and `pack_weights`' tensors; bias float32 [N].

    Raises RuntimeError where shapes disagree.
    """
    _check(x, weight_blocks, weight_scales, weight_sums, bias)
    weight_NK = unpack_weights(weight_blocks, weight_scales.shape[0], x.shape[-1])
    q, zero, step = quantize_inputs(x)
    # Sums stay below 2^31, so float64 holds them exactly.
    sums = (q - zero).double() @ weight_NK.double().T
    y = sums.float() * (step * weight_scales)
    if bias is not None:
        y = y + bias
    return torch.nn.functional.gelu(y) if gelu else y


def quantize_inputs(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Values 0 to 255 as floats, with zero and step [..., 1] of each row."""
    low = x.amin(-1, keepdim=True).clamp(max=0)
    high = x.amax(-1, keepdim=True).clamp(min=0)
    finite = low.isfinite() & high.isfinite()  # so are all between them, and a NaN is the lowest and the highest
    step = high / HIGHEST - low / HIGHEST
    inverse = 1 / step
    usable = finite & inverse.isfinite()
    low, high = low * inverse, high * inverse
    zero = torch.where(low + (HIGHEST + high) > 0, -low, HIGHEST - high).clamp(0, HIGHEST).round()
    q = (x * inverse).round_().add_(zero).clamp_(0, HIGHEST)
    if not usable.all():
        q, zero = (torch.where(usable, each, 0.0) for each in (q, zero))
    return q, zero, torch.where(usable, step, torch.where(finite, 1.0, float("nan")))


def rounded_inputs(x: Tensor) -> Tensor:
    """Rows [..., K] as the operator reads them, in fp32."""
    q, zero, step = quantize_inputs(x)
    return (q - zero) * step


def _check(x: Tensor, blocks: Tensor, scales: Tensor, sums: Tensor, bias: Tensor | None) -> None:
    outputs, inputs = scales.shape[0], x.shape[-1]
    shape = [-(-outputs // BLOCK_OUTPUTS), -(-inputs // BLOCK_INPUTS), BLOCK_INPUTS // QUAD, BLOCK_OUTPUTS, QUAD]
    torch._check(list(blocks.shape) == shape, lambda: f"weight_blocks must be {shape}, got {list(blocks.shape)}")
    for name, tensor in (("weight_scales", scales), ("weight_sums", sums), ("bias", bias)):
        torch._check(tensor is None or list(tensor.shape) == [outputs], lambda name=name: f"{name} must be [{outputs}]")


def _result_shape(x, weight_blocks, weight_scales, weight_sums, bias, gelu):
    return x.new_empty([*x.shape[:-1], weight_scales.shape[0]])


def register() -> None:
    define_operator("linear_int8", _ARGUMENTS, linear_int8, _result_shape)
