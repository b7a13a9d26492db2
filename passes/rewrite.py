"""Small steps that rewrites of a graph are made of: new calls with their shapes, and shapes with one inferred size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.fx import Graph, Node

aten = torch.ops.aten

VIEWS = (aten.view.default, aten.reshape.default, aten._unsafe_view.default)
# Each element of the result is of the operands' elements in its place.
POINTWISE = {
    aten.add.Tensor,
    aten.sub.Tensor,
    aten.mul.Tensor,
    aten.div.Tensor,
    aten.gelu.default,
    aten.relu.default,
    aten.tanh.default,
    aten.silu.default,
    aten.sigmoid.default,
    aten.clone.default,
    aten.dropout.default,
}


def call(graph: Graph, target: Any, arguments: tuple, named: dict[str, Any] | None = None) -> Node:
    """A call at the graph's insertion point, with the `meta` that later passes and the lowering read."""
    named = named or {}
    node = graph.call_function(target, arguments, named)
    values, named_values = torch.fx.node.map_arg((arguments, named), lambda n: n.meta["val"])
    node.meta["val"] = target(*values, **named_values)
    return node


def shape_of(node: Node) -> list[int | torch.SymInt]:
    return list(node.meta["val"].shape)


def inferable(shape: Sequence[int | torch.SymInt]) -> list[int] | None:
    """A shape as the arguments of a view with no symbols: its one dynamic size as -1; None where it has more.

    XNNPACK takes such a view, and none with a symbol.
    """
    if sum(not isinstance(size, int) for size in shape) > 1:
        return None
    return [size if isinstance(size, int) else -1 for size in shape]


def transposition(node: Node) -> list[int] | None:
    """The order of dimensions that a transpose or permute makes; None for other nodes."""
    if node.op != "call_function":
        return None
    rank = len(shape_of(node)) if isinstance(node.meta.get("val"), torch.Tensor) else 0
    if node.target is aten.permute.default:
        return [d % rank for d in node.args[1]]
    if node.target is aten.transpose.int:
        order = list(range(rank))
        a, b = (d % rank for d in node.args[1:3])
        order[a], order[b] = order[b], order[a]
        return order
    return None


def same_shape(a: Node, b: Node) -> bool:
    """Whether two tensors have the same sizes, dynamic ones included, and the same type."""
    first, second = a.meta["val"], b.meta["val"]
    return first.dtype == second.dtype and size_key(shape_of(a)) == size_key(shape_of(b))


def size_key(shape: Sequence[int | torch.SymInt]) -> tuple:
    """Sizes in a form that can be compared without asking for the value of a dynamic one."""
    return tuple(size if isinstance(size, int) else size.node.expr for size in shape)


def same_place(before: Sequence[int | torch.SymInt], after: Sequence[int | torch.SymInt], dim: int) -> int | None:
    """Where dimension `dim` of a view's shape `after` stands in its input's `before`; None if it isn't one of them."""

    def key(shape: Sequence[int | torch.SymInt], at: int) -> tuple:
        elements_before = 1
        for size in shape[:at]:
            elements_before = elements_before * size
        return size_key((elements_before, shape[at]))

    return next((at for at in range(len(before)) if key(before, at) == key(after, dim)), None)
