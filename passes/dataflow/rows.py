"""Rows read at the chosen ones, by gather or by an index: the variable of all rows gives way to the k-th chosen."""

from __future__ import annotations

from dataclasses import replace

import sympy
import torch
from torch.fx import Node

from spartanc.passes.dataflow.calls import argument, axis_of
from spartanc.passes.dataflow.flow import Dataflow
from spartanc.passes.dataflow.layouts import aligned
from spartanc.passes.dataflow.rules import Rules
from spartanc.passes.index_notation import (
    Digit,
    Dim,
    Formula,
    Inexpressible,
    Pick,
    Position,
    Tensor,
    depends,
    size,
    substitute,
    unify,
)

aten = torch.ops.aten
rule = Rules()


@rule(aten.gather.default, aten.take_along_dim.default)
def _gather(flow: Dataflow, node: Node) -> Tensor:
    source = flow.tensor(node.args[0])
    take_along = node.target is aten.take_along_dim.default
    indices = flow.tensor(node.args[1 if take_along else 2])
    axis = argument(node, 2, "dim") if take_along else node.args[1]
    if axis is None:
        raise Inexpressible("rows are read out of a flattened tensor")
    axis = axis_of(source, axis)
    for at in range(len(source.dims)):
        if at == axis or source.dims[at] == indices.dims[at]:
            continue
        if take_along and () in (source.dims[at], indices.dims[at]):
            continue
        source, indices = unify(source, indices, at, at)
    row = _row(indices.formula, size(source.dims[axis]))
    dims = tuple(
        indices.dims[at] if at == axis or indices.dims[at] else source.dims[at] for at in range(len(source.dims))
    )
    return Tensor(dims, _read(source, axis, row))


@rule(aten.index_select.default)
def _index_select(flow: Dataflow, node: Node) -> Tensor:
    source, indices = flow.tensor(node.args[0]), flow.tensor(node.args[2])
    axis = axis_of(source, node.args[1])
    row = _row(indices.formula, size(source.dims[axis]))
    dims = source.dims[:axis] + (indices.dims or ((),)) + source.dims[axis + 1 :]
    return Tensor(dims, _read(source, axis, row))


@rule(aten.embedding.default)
def _embedding(flow: Dataflow, node: Node) -> Tensor:
    source, indices = flow.tensor(node.args[0]), flow.tensor(node.args[1])
    row = _row(indices.formula, size(source.dims[0]))
    return Tensor(indices.dims + source.dims[1:], _read(source, 0, row))


@rule(aten.index.Tensor)
def _index(flow: Dataflow, node: Node) -> Tensor:
    """Advanced indexing; an index that only counts along a dimension leaves that dimension as it is."""
    source = flow.tensor(node.args[0])
    listed = list(node.args[1])
    axes = [at for at, argument in enumerate(listed) if argument is not None]
    if axes != list(range(axes[0], axes[-1] + 1)):
        raise Inexpressible("indices apart from each other")
    indices = [flow.tensor(listed[at]) for at in axes]
    rank = max(len(i.dims) for i in indices)
    indices = [replace(i, dims=((),) * (rank - len(i.dims)) + i.dims) for i in indices]
    for one in range(len(indices)):
        for other in range(one + 1, len(indices)):
            indices[one], indices[other] = aligned(indices[one], indices[other])
    counted = [i for i in range(len(axes)) if _counts_along(indices[i], source.dims[axes[i]])]
    for i in counted:
        formula = indices[i].formula
        assert isinstance(formula, Position)
        digit = formula.terms[0][0]
        assert isinstance(digit, Digit)
        whole = source.dims[axes[i]]
        indices = [t.substitute(digit, whole) for t in indices]
    result = source
    for i, axis in enumerate(axes):
        if i not in counted:
            row = _row(indices[i].formula, size(source.dims[axis]))
            result = replace(result, formula=_read(result, axis, row))
    dims: list[Dim] = [()] * rank
    for tensor in indices:
        dims = [dim if dim != () else have for dim, have in zip(tensor.dims, dims, strict=True)]
    return Tensor((*source.dims[: axes[0]], *dims, *source.dims[axes[-1] + 1 :]), result.formula)


def _counts_along(tensor: Tensor, dim: Dim) -> bool:
    formula = tensor.formula
    if not isinstance(formula, Position) or formula.offset or len(formula.terms) != 1 or len(dim) != 1:
        return False
    index, stride = formula.terms[0]
    return stride == 1 and isinstance(index, Digit) and index.whole and index.size == dim[0].size


def _row(position: Formula, rows: sympy.Expr) -> Dim:
    """The index, major first, that an integer formula spells out by strides."""
    if not isinstance(position, Position) or position.offset:
        raise Inexpressible("rows are read at something else than chosen ones")
    stride = 1
    dim: list[Digit | Pick] = []
    for index, step in sorted(position.terms, key=lambda term: term[1]):
        if step != stride or not index.size.is_Integer:
            raise Inexpressible("rows are read by arithmetic that cannot be followed")
        if index.size != 1:
            dim.insert(0, index)
        stride *= int(index.size)
    if stride != rows:
        raise Inexpressible("rows are read by indices of another range")
    return tuple(dim)


def _read(source: Tensor, axis: int, index: Dim) -> Formula:
    """The formula of `source` with dimension `axis` at `index`."""
    formula = source.formula
    parts = list(index)
    old = list(source.dims[axis])
    if len(old) == 1:
        assert isinstance(old[0], Digit)
        return substitute(formula, old[0], tuple(parts)) if depends(formula, (old[0],)) else formula
    if len(old) != len(parts) or any(a.size != b.size for a, b in zip(old, parts, strict=True)):
        raise Inexpressible("rows are read by indices of another range")
    for digit, part in zip(old, parts, strict=True):
        assert isinstance(digit, Digit)
        formula = substitute(formula, digit, (part,))
    return formula
