"""What the call that a node stands for says: its operator, its arguments, its result's shape."""

from __future__ import annotations

from typing import Any

import sympy
from torch.fx import Node

from spartanc.passes.index_notation import Tensor, size_of


def name_of(node: Node) -> str:
    return str(getattr(node.target, "_opname", None) or getattr(node.target, "__name__", node.target))


def argument(node: Node, position: int, name: str, default: Any = None) -> Any:
    """An argument, given by its position or by its name."""
    if len(node.args) > position:
        return node.args[position]
    return node.kwargs.get(name, default)


def axis_of(tensor: Tensor, dim: int) -> int:
    """A dimension counted from the front; a scalar has one, as in torch."""
    return dim % max(len(tensor.dims), 1)


def shape_of(node: Node) -> tuple[sympy.Expr, ...]:
    return tuple(size_of(n) for n in node.meta["val"].shape)
