"""Rounding of rows as the kernels round them, forward; backward as if nothing had been rounded."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from spartanc.passes.ops import linear_int8
from spartanc.passes.ops.memory_lookup import INT4_GROUP, to_integers

Rows = TypeVar("Rows")


class LastRows(Generic[Rows]):
    """The rows that were rounded last: query, key and value read the same ones."""

    def __init__(self, rounding: Callable[[Tensor], Rows]) -> None:
        """rounding: of rows [R, K]."""
        self._rounding = rounding
        self._of: weakref.ref[Tensor] | None = None
        self._version: int | None = None
        self._rows: Rows

    def of(self, x: Tensor) -> Rows:
        """Of x [..., K]."""
        version = None if x.is_inference() else x._version  # counts what was written over it
        if self._of is None or self._of() is not x or version is None or version != self._version:
            self._rows = self._rounding(x.detach().flatten(0, -2))
            self._of, self._version = weakref.ref(x), version
        return self._rows


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, rounded: Tensor) -> Tensor:
        return rounded

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None


def straight_through(value: Tensor, rounded: Tensor) -> Tensor:
    """`rounded`, whose gradient becomes `value`'s."""
    return _StraightThrough.apply(value, rounded)


def rounded_inputs(x: Tensor) -> Tensor:
    """Rows as int8 linears read them: 256 steps from their lowest value (or 0) to their highest (or 0)."""
    return straight_through(x, linear_int8.rounded_inputs(x.detach()))


def rounded_symmetric(rows: Tensor) -> Tensor:
    """Rows as int8 and int4 memories read them: 127 steps from 0 to their largest magnitude."""
    integers, scale = to_integers(rows.detach())
    return straight_through(rows, integers * scale)


def rounded_cells(cells_MH: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """Cells [M, H] as integers times scales, and the scales [M, G]: of a whole cell for 8 bits, of every 32 for 4.

    What `passes.quantize_memories.quantize_cells` gives by torchao, in a quarter of the time.
    """
    cells_MGW = cells_MH.detach().unflatten(1, (1 if bits == 8 else -1, -1 if bits == 8 else INT4_GROUP))
    lowest, highest = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    scales_MG = cells_MGW.abs().amax(-1).div((highest - lowest) / 2).clamp(min=torch.finfo(torch.float32).tiny)
    integers_MGW = (cells_MGW * (1 / scales_MG).unsqueeze(-1)).round().clamp(lowest, highest)
    return straight_through(cells_MH, (integers_MGW * scales_MG.unsqueeze(-1)).flatten(1)), scales_MG
