"""Rearrangements: views, copies, permutations and broadcasts move index variables and leave the formula."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch.fx import Node

from spartanc.passes.dataflow.calls import argument, shape_of
from spartanc.passes.dataflow.flow import Dataflow
from spartanc.passes.dataflow.pointwise import pointwise
from spartanc.passes.dataflow.rules import Rules
from spartanc.passes.dataflow.value import Value
from spartanc.passes.index_notation import Inexpressible, Product, Tensor, new_dim, regroup, size

aten = torch.ops.aten
rule = Rules()


@rule(
    aten.view.default,
    aten.view_copy.default,
    aten._unsafe_view.default,
    aten.reshape.default,
    aten.flatten.using_ints,
    aten.unflatten.int,
    aten.squeeze.default,
    aten.squeeze.dim,
    aten.squeeze.dims,
    aten.squeeze_copy.dims,
    aten.unsqueeze.default,
    aten.unsqueeze_copy.default,
    aten.view_as.default,
    aten.reshape_as.default,
)
def _view(flow: Dataflow, node: Node) -> Value:
    shape = shape_of(node)
    return flow.value(node.args[0]).changed(lambda t: Tensor(regroup(t.dims, shape), t.formula))


@rule(
    aten.clone.default,
    aten.contiguous.default,
    aten.alias.default,
    aten.alias_copy.default,
    aten.detach.default,
    aten.detach_.default,
    aten.lift_fresh_copy.default,
    aten._to_copy.default,
    aten.to.dtype,
    aten.to.dtype_layout,
    aten.to.device,
    aten.to.other,
    aten.type_as.default,
)
def _copy(flow: Dataflow, node: Node) -> Value:
    source = node.args[0]
    assert isinstance(source, Node)
    if source.meta["val"].dtype != node.meta["val"].dtype:
        return _cast(flow, node)
    return flow.value(source)


def _cast(flow: Dataflow, node: Node) -> Value:
    source = node.args[0]
    assert isinstance(source, Node)
    kinds = {source.meta["val"].dtype, node.meta["val"].dtype}
    if kinds == {torch.float32, torch.float64}:  # float64 loses nothing, and what comes back from it is rounded once
        return flow.value(source)
    tensor = flow.tensor(source)
    if isinstance(tensor.formula, Product) and tensor.formula.factors:
        raise Inexpressible(f"a cast to {node.meta['val'].dtype}")
    result = pointwise(node.meta["val"].dtype, lambda v: v, tensor)
    return Value(result, flow.leaf(node))


@rule(aten.dropout.default)
def _dropout(flow: Dataflow, node: Node) -> Value:
    if argument(node, 2, "train"):
        raise Inexpressible("dropout in training mode")
    return flow.value(node.args[0])


@rule(aten.permute.default, aten.permute_copy.default)
def _permute(flow: Dataflow, node: Node) -> Value:
    return _permuted(flow, node, lambda rank: [d % rank for d in node.args[1]])


@rule(aten.transpose.int, aten.transpose_copy.int, aten.swapaxes.default, aten.swapdims.default)
def _transpose(flow: Dataflow, node: Node) -> Value:
    return _permuted(flow, node, lambda rank: _swap(rank, node.args[1], node.args[2]))


@rule(aten.t.default, aten.mT.default)
def _transpose_last(flow: Dataflow, node: Node) -> Value:
    return _permuted(flow, node, lambda rank: _swap(rank, -2, -1) if rank > 1 else [0])


@rule(aten.numpy_T.default)
def _reverse(flow: Dataflow, node: Node) -> Value:
    return _permuted(flow, node, lambda rank: list(range(rank))[::-1])


@rule(aten.movedim.int, aten.movedim.intlist)
def _movedim(flow: Dataflow, node: Node) -> Value:
    return _permuted(flow, node, lambda rank: _moved(node, rank))


def _permuted(flow: Dataflow, node: Node, order: Callable[[int], Sequence[int]]) -> Value:
    value = flow.value(node.args[0])
    dims = order(len(value.tensor.dims))
    return value.changed(lambda t: Tensor(tuple(t.dims[d] for d in dims), t.formula))


def _swap(rank: int, a: int, b: int) -> list[int]:
    order = list(range(rank))
    if rank:
        order[a], order[b] = order[b], order[a]
    return order


def _moved(node: Node, rank: int) -> list[int]:
    def listed(dims):
        return [d % rank for d in ([dims] if isinstance(dims, int) else dims)]

    source, destination = listed(node.args[1]), listed(node.args[2])
    order: list[int | None] = [None] * rank
    for s, d in zip(source, destination, strict=True):
        order[d] = s
    rest = iter(d for d in range(rank) if d not in source)
    return [next(rest) if d is None else d for d in order]


@rule(
    aten.expand.default,
    aten.expand_copy.default,
    aten.expand_as.default,
    aten.broadcast_to.default,
    aten.repeat.default,
    aten.tile.default,
)
def _expand(flow: Dataflow, node: Node) -> Value:
    shape = shape_of(node)

    def change(tensor: Tensor) -> Tensor:
        dims = (None,) * (len(shape) - len(tensor.dims)) + tensor.dims
        result = []
        for dim, n in zip(dims, shape, strict=True):
            result.append(dim if dim else new_dim(n))
            if size(result[-1]) != n:
                raise Inexpressible("a repetition that is not a broadcast")
        return Tensor(tuple(result), tensor.formula)

    return flow.value(node.args[0]).changed(change)
