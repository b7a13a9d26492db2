"""The dimensions of a result, by those of its operands: broadcast from the last one on, or reduced."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from spartanc.passes.index_notation import Dim, Membership, Tensor, unify


def padded(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Two tensors with the same rank; the dimensions put before have size 1."""
    rank = max(len(a.dims), len(b.dims))
    return (
        replace(a, dims=((),) * (rank - len(a.dims)) + a.dims),
        replace(b, dims=((),) * (rank - len(b.dims)) + b.dims),
    )


def aligned(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Two operands of a pointwise operator with the same rank and the same variables."""
    a, b = padded(a, b)
    for at in range(len(a.dims)):
        if a.dims[at] != () and b.dims[at] != ():
            a, b = unify(a, b, at, at)
    return a, b


def together(a: Tensor, b: Tensor) -> tuple[Dim, ...]:
    """Dimensions of a pointwise result of two operands that are aligned."""
    return tuple(x if x != () else y for x, y in zip(a.dims, b.dims, strict=True))


def broadcast(tensors: Sequence[Tensor]) -> tuple[Dim, ...]:
    """Dimensions of a pointwise result of which at most one operand depends on any index."""
    rank = max((len(t.dims) for t in tensors), default=0)
    result: list[Dim] = [()] * rank
    for tensor in sorted(tensors, key=lambda t: isinstance(t.formula, Membership)):
        for at, dim in enumerate(tensor.dims, rank - len(tensor.dims)):
            if dim != ():
                result[at] = dim
    return tuple(result)


def reduced(dims: tuple[Dim, ...], axes: set[int], keep: bool) -> tuple[Dim, ...]:
    """What a reduction over `axes` leaves of `dims`."""
    return tuple(() if at in axes else dim for at, dim in enumerate(dims) if keep or at not in axes)
