"""`int8`: linears, embeddings and cells in 8 bits, as `--quantize int8` has them.

    linears      weights by output, inputs row by row; products of integers, exact as the kernels' own. Frozen weights
                 are rounded once
    embeddings   rows of the token table; positions and segments stay in fp32
    memories     cells, the rows that read them and the weights that sum them; parents in half precision

The linear that gives the logits is not given to an arithmetic: it stays in fp32, as in a program.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from spartanc.models.arithmetic.arithmetic import Arithmetic, Forward
from spartanc.models.arithmetic.fp32 import by_place, cell_weights
from spartanc.models.arithmetic.rounding import (
    LastRows,
    rounded_cells,
    rounded_inputs,
    rounded_symmetric,
    straight_through,
)
from spartanc.models.memory import Memory
from spartanc.passes.ops.linear_int8 import quantize_inputs
from spartanc.passes.quantize_embeddings import rounded_table
from spartanc.passes.quantize_linears import quantize_weights
from spartanc.passes.quantize_memories import rounded_to_half


@dataclass(frozen=True)
class FrozenWeights:
    """A frozen linear's, rounded: integers int8 [K, N], scales and bias float32 [N], sums int32 [N] over inputs.

    back: what gradients are multiplied by, [N, K] in fp32 or bf16.
    """

    integers: Tensor
    scales: Tensor
    sums: Tensor
    bias: Tensor
    back: Tensor


def freeze(part: nn.Linear, precision: str) -> FrozenWeights:
    """`part`'s weights; precision: of the product that takes gradients back."""
    integers_NK, scales_N = quantize_weights(part.weight)
    back = integers_NK * scales_N.unsqueeze(1)
    bias = torch.zeros_like(scales_N) if part.bias is None else part.bias.detach()
    sums_N = integers_NK.sum(1, dtype=torch.int32)
    return FrozenWeights(integers_NK.t(), scales_N, sums_N, bias, back.bfloat16() if precision == "bf16" else back)


@dataclass(frozen=True)
class RoundedRows:
    """Inputs, rounded: integers int8 [R, K], 128 below what the kernels count from; zeros int32 [R], steps [R, 1]."""

    integers: Tensor
    zeros: Tensor
    steps: Tensor


def round_rows(x_RK: Tensor) -> RoundedRows:
    q, zero, step = quantize_inputs(x_RK)
    return RoundedRows(q.sub_(128).to(torch.int8), (zero - 128).flatten().to(torch.int32), step)


class IntegerProduct(torch.autograd.Function):
    """What `spartan::linear_int8` gives for x [R, K]; its gradient is that of a product with the rounded weights."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, rows: RoundedRows, weights: FrozenWeights) -> Tensor:
        ctx.back = weights.back
        sums = _product(rows.integers, weights.integers)
        sums.addr_(rows.zeros, weights.sums, alpha=-1)
        return torch.addcmul(weights.bias, sums.float().mul_(rows.steps), weights.scales)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return (gradients[0].to(ctx.back.dtype) @ ctx.back).float(), None, None


def _product(one: Tensor, other: Tensor) -> Tensor:
    """int32 of int8 matrices; by the processor's own instructions where they add up without loss."""
    # A GPU's take few sizes.
    if one.device.type == "cpu" and _integer_products_are_exact():
        return torch._int_mm(one, other)
    return (one.double() @ other.double()).to(torch.int32)


@cache
def _integer_products_are_exact() -> bool:
    """Whether sums of the largest products come out whole: instructions of 16-bit sums would cut them off."""
    one, other = torch.full((32, 64), -128, dtype=torch.int8), torch.full((64, 64), 127, dtype=torch.int8)
    try:
        return bool((torch._int_mm(one, other) == -128 * 127 * 64).all())
    except RuntimeError:
        return False


def _frozen_forward(weights: FrozenWeights, last: LastRows[RoundedRows], x: Tensor) -> Tensor:
    out: Tensor = IntegerProduct.apply(x.flatten(0, -2), last.of(x), weights)
    return out.unflatten(0, x.shape[:-1])


def _trained_forward(part: nn.Linear, x: Tensor) -> Tensor:
    with torch.no_grad():
        integers_NK, scales_N = quantize_weights(part.weight)
        rounded = integers_NK * scales_N.unsqueeze(1)
    return functional.linear(rounded_inputs(x), straight_through(part.weight, rounded), part.bias)


def embedding_forward(part: nn.Embedding, table_VH: Tensor, ids: Tensor) -> Tensor:
    """Rows of `table_VH` in place of `part`'s own."""
    return functional.embedding(ids, table_VH, part.padding_idx)


def memory_forward(memory: Memory, bits: int, x_BSH: Tensor) -> Tensor:
    """What `memory_lookup.int8` (or `.int4`) gives with residual and LayerNorm, cells in the order of `by_place`."""
    parents, temperature = memory.config.parents, memory.config.temperature
    x_NH = x_BSH.flatten(0, -2)
    keys_MH, _ = rounded_cells(by_place(memory.keys, parents), bits)
    values_MH, scales_MG = rounded_cells(by_place(memory.values, parents), bits)
    groups = scales_MG.shape[1]
    half_EH = straight_through(memory.parents, rounded_to_half(memory.parents.detach()))
    parent_logits = functional.linear(x_NH, half_EH)
    child_logits = functional.linear(rounded_symmetric(x_NH), keys_MH) / temperature
    weights_NM = cell_weights(memory, parent_logits, child_logits, x_BSH.shape)
    if groups == 1:
        scaled_NM = rounded_symmetric(weights_NM * scales_MG.flatten())
        out_NH = torch.addmm(x_NH, scaled_NM, values_MH / scales_MG)
    else:
        scaled_GNM = rounded_symmetric(weights_NM * scales_MG.t().unsqueeze(1))
        values_GMW = (values_MH.unflatten(1, (groups, -1)) / scales_MG.unsqueeze(-1)).transpose(0, 1)
        out_NH = x_NH + torch.bmm(scaled_GNM, values_GMW).transpose(0, 1).flatten(1)
    out_BSH = out_NH.view_as(x_BSH)
    return out_BSH if memory.norm is None else memory.norm(out_BSH)


class Int8(Arithmetic):
    name = "int8"

    def __init__(self) -> None:
        self._last = LastRows(round_rows)

    def linear(self, part: nn.Linear, precision: str) -> Forward | None:
        if part.weight.requires_grad:
            return partial(_trained_forward, part)
        return partial(_frozen_forward, freeze(part, precision), self._last)

    def embedding(self, part: nn.Embedding) -> Forward | None:
        if part.weight.requires_grad:  # a whole encoder is trained: no program of ours holds it
            return None
        return partial(embedding_forward, part, rounded_table(part.weight, 8))

    def memory(self, memory: Memory) -> Forward:
        return partial(memory_forward, memory, 8)


INT8 = Int8()
