"""Slices: of all tensors, only a ranking can be cut, to a ranking of fewer."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch.fx import Node

from spartanc.passes.dataflow.calls import argument, axis_of, shape_of
from spartanc.passes.dataflow.flow import Dataflow
from spartanc.passes.dataflow.recognise import pick_of
from spartanc.passes.dataflow.rules import Rules
from spartanc.passes.dataflow.value import Value
from spartanc.passes.index_notation import (
    Dim,
    Formula,
    Inexpressible,
    Leaf,
    Pick,
    Position,
    Product,
    Tensor,
    new_dim,
    selections,
)

aten = torch.ops.aten
rule = Rules()


@rule(aten.slice.Tensor, aten.slice_copy.Tensor, aten.narrow.default)
def _slice(flow: Dataflow, node: Node) -> Value | Tensor:
    value = flow.value(node.args[0])
    source = node.args[0]
    assert isinstance(source, Node)
    if shape_of(source) == shape_of(node):
        return value
    tensor = value.tensor
    axis = axis_of(tensor, argument(node, 1, "dim", 0))
    start, step = argument(node, 2, "start", None) or 0, argument(node, 4, "step", 1)
    length = shape_of(node)[axis]
    dim = tensor.dims[axis]
    ranks = list(selections(tensor.formula))
    if start == 0 and step == 1 and length.is_Integer and len(dim) == 1 and ranks:
        return _first(flow, tensor, axis, int(length))
    if ranks:
        raise Inexpressible("single entries of a top-K are taken out of it")
    raise Inexpressible("a slice")


@rule(aten.select.int)
def _select(flow: Dataflow, node: Node) -> Value | Tensor:
    value = flow.value(node.args[0])
    axis = axis_of(value.tensor, argument(node, 1, "dim", 0))
    if value.tensor.dims[axis] == ():
        return value.changed(lambda t: Tensor(t.dims[:axis] + t.dims[axis + 1 :], t.formula))
    if argument(node, 2, "index", 0) == 0 and pick_of(value.tensor.formula) is not None:
        first = _first(flow, value.tensor, axis, 1)
        return Tensor(first.dims[:axis] + first.dims[axis + 1 :], first.formula)
    raise Inexpressible("single entries of a top-K are taken out of it")


def _first(flow: Dataflow, tensor: Tensor, axis: int, count: int) -> Tensor:
    """The first entries of a ranking: a ranking of fewer."""
    dim = tensor.dims[axis]
    pick = pick_of(tensor.formula)
    if pick is None or pick.rank != dim:
        raise Inexpressible("a slice")
    shorter = flow.shorter.setdefault(
        (pick, count), Pick(replace(pick.selection, count=count), new_dim(count), pick.size)
    )
    dims = (*tensor.dims[:axis], shorter.rank, *tensor.dims[axis + 1 :])
    return Tensor(dims, _replace_pick(tensor.formula, pick, shorter))


def _replace_pick(formula: Formula, old: Pick, new: Pick) -> Formula:
    def dim(d: Dim) -> Dim:
        return tuple(new if index == old else index for index in d)

    if isinstance(formula, Position):
        return Position(tuple((new if index == old else index, stride) for index, stride in formula.terms))
    assert isinstance(formula, Product)
    factors = tuple(Leaf(f.node, tuple(dim(d) for d in f.index)) if isinstance(f, Leaf) else f for f in formula.factors)
    return replace(formula, factors=factors)
