"""`int4`: linears, embeddings and cells in 4 bits, as `--quantize int4` has them.

    linears      weights with a scale for every 32 inputs of an output, inputs in 8 bits row by row; to a millionth of
                 the kernels' own. Frozen weights are rounded once
    embeddings   rows of the token table, a scale for every 32 of a row; positions and segments stay in fp32
    memories     cells, a scale for every 32 of a cell; what reads and sums them as in `int8`; parents in half precision

Linears and tables that groups of 32 do not divide are in 8 bits, as in a program; memories that they do not divide are
refused, as `compile` refuses them. With `--precision bf16` frozen weights take a second,
finer rounding, to bfloat16; rows are whole numbers there and lose nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from spartanc.models.arithmetic.arithmetic import Arithmetic, Forward
from spartanc.models.arithmetic.int8 import INT8, embedding_forward, memory_forward
from spartanc.models.arithmetic.rounding import LastRows, rounded_inputs, straight_through
from spartanc.models.memory import Memory
from spartanc.passes.ops.linear_int8 import quantize_inputs
from spartanc.passes.quantize_embeddings import rounded_table
from spartanc.passes.quantize_memories import require_groups
from spartanc.passes.weight_grids import INT4 as GRID


@dataclass(frozen=True)
class RoundedRows:
    """Inputs, rounded: whole numbers [R, K] from -255 to 255 in fp32 or bf16, which holds them, and steps [R, 1]."""

    integers: Tensor
    steps: Tensor


def round_rows(x_RK: Tensor) -> RoundedRows:
    q, zero, step = quantize_inputs(x_RK)
    return RoundedRows(q.sub_(zero), step)


class GroupedProduct(torch.autograd.Function):
    """x [R, K] times rounded weights [N, K], fp32 or bf16, plus a bias [N]; backward with the same weights."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, rows: RoundedRows, weight_NK: Tensor, bias: Tensor | None) -> Tensor:
        ctx.weight = weight_NK
        products_RN = (rows.integers.to(weight_NK.dtype) @ weight_NK.t()).float()
        return products_RN.mul_(rows.steps) if bias is None else torch.addcmul(bias, products_RN, rows.steps)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        return (gradients[0].to(ctx.weight.dtype) @ ctx.weight).float(), None, None, None


def _frozen_forward(weight_NK: Tensor, bias: Tensor | None, last: LastRows[RoundedRows], x: Tensor) -> Tensor:
    out: Tensor = GroupedProduct.apply(x.flatten(0, -2), last.of(x), weight_NK, bias)
    return out.unflatten(0, x.shape[:-1])


def _trained_forward(part: nn.Linear, x: Tensor) -> Tensor:
    return functional.linear(rounded_inputs(x), straight_through(part.weight, GRID.rounded(part.weight)), part.bias)


class Int4(Arithmetic):
    name = "int4"

    def __init__(self) -> None:
        self._last = LastRows(round_rows)

    def linear(self, part: nn.Linear, precision: str) -> Forward | None:
        if not GRID.takes(part.weight):
            return INT8.linear(part, precision)
        if part.weight.requires_grad:
            return partial(_trained_forward, part)
        weight_NK = GRID.rounded(part.weight)
        bias = None if part.bias is None else part.bias.detach()
        return partial(_frozen_forward, weight_NK.bfloat16() if precision == "bf16" else weight_NK, bias, self._last)

    def embedding(self, part: nn.Embedding) -> Forward | None:
        if part.weight.requires_grad:  # a whole encoder is trained: no program of ours holds it
            return None
        return partial(embedding_forward, part, rounded_table(part.weight, 4))

    def check_memories(self, hidden: int) -> None:
        require_groups(hidden, "--arithmetic")

    def memory(self, memory: Memory) -> Forward:
        self.check_memories(memory.keys.shape[1])
        return partial(memory_forward, memory, 4)


INT4 = Int4()
