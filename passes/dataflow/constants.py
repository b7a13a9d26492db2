"""Tensors made out of nothing: constants, and ranges that count from 0."""

from __future__ import annotations

from typing import Any

import torch
from torch.fx import Node

from spartanc.passes.dataflow.calls import argument, shape_of
from spartanc.passes.dataflow.flow import Dataflow
from spartanc.passes.dataflow.rules import Rules
from spartanc.passes.index_notation import Inexpressible, Position, Product, Tensor, new_dim

aten = torch.ops.aten
rule = Rules()


@rule(aten.zeros.default, aten.zeros_like.default, aten.new_zeros.default)
def _zeros(flow: Dataflow, node: Node) -> Tensor:
    return _filled(flow, node, 0.0)


@rule(aten.ones.default, aten.ones_like.default, aten.new_ones.default)
def _ones(flow: Dataflow, node: Node) -> Tensor:
    return _filled(flow, node, 1.0)


@rule(aten.full.default, aten.full_like.default)
def _full(flow: Dataflow, node: Node) -> Tensor:
    return _filled(flow, node, argument(node, 1, "fill_value"))


@rule(aten.new_full.default)
def _new_full(flow: Dataflow, node: Node) -> Tensor:
    return _filled(flow, node, argument(node, 2, "fill_value"))


@rule(aten.fill.Scalar, aten.fill.Tensor)
def _fill(flow: Dataflow, node: Node) -> Tensor:
    return _filled(flow, node, argument(node, 1, "value"))


@rule(aten.scalar_tensor.default)
def _scalar_tensor(flow: Dataflow, node: Node) -> Tensor:
    return _filled(flow, node, argument(node, 0, "s"))


def _filled(flow: Dataflow, node: Node, amount: Any) -> Tensor:
    if isinstance(amount, Node):
        formula = flow.tensor(amount).formula
        if not isinstance(formula, Product) or formula.factors:
            raise Inexpressible("a fill that is not a constant")
        amount = formula.coefficient
    return Tensor(tuple(new_dim(n) for n in shape_of(node)), Product(float(amount)))


@rule(aten.arange.default, aten.arange.start, aten.arange.start_step)
def _arange(flow: Dataflow, node: Node) -> Tensor:
    numbers = [a for a in node.args if isinstance(a, int)]
    begins = node.target is aten.arange.default or numbers[0] == 0
    if not begins or (node.target is aten.arange.start_step and len(node.args) > 2 and node.args[2] != 1):
        raise Inexpressible("a range that does not count from 0")
    (dim,) = (new_dim(n) for n in shape_of(node))
    return Tensor((dim,), Position(tuple((index, 1) for index in dim)))
