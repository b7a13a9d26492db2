"""Sums and products of two tensors, entry by entry: of constants, masks, indices, logits and weights."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import torch
from torch.fx import Node

from spartanc.passes.dataflow.calls import shape_of
from spartanc.passes.dataflow.flow import Dataflow
from spartanc.passes.dataflow.layouts import aligned, padded, together
from spartanc.passes.dataflow.masks import masked
from spartanc.passes.dataflow.pointwise import pointwise
from spartanc.passes.dataflow.recognise import constant_of
from spartanc.passes.dataflow.rules import Rules
from spartanc.passes.dataflow.value import Value
from spartanc.passes.dataflow.weights import normalised, restricted
from spartanc.passes.index_notation import Inexpressible, Membership, Position, Tensor, contract

aten = torch.ops.aten
rule = Rules()


@rule(aten.mul.Tensor, aten.mul.Scalar)
def _mul(flow: Dataflow, node: Node) -> Value | Tensor:
    first, second = flow.value(node.args[0]), flow.value(node.args[1])
    numbers = constant_of(first.tensor), constant_of(second.tensor)
    for one, other in ((first.tensor, second.tensor), (second.tensor, first.tensor)):
        if isinstance(one.formula, Membership) and constant_of(other) is None:
            return restricted(one, other)
    if all(n is not None for n in numbers) or any(isinstance(v.tensor.formula, Membership) for v in (first, second)):
        return pointwise(node.meta["val"].dtype, operator.mul, first.tensor, second.tensor)
    if any(isinstance(v.tensor.formula, Position) for v in (first, second)):
        return _position(operator.mul, first.tensor, second.tensor)
    if numbers[0] is not None:
        return _scaled(numbers[0], second, first.tensor)
    if numbers[1] is not None:
        return _scaled(numbers[1], first, second.tensor)
    labels = [f"d{at}" for at in range(len(shape_of(node)))]

    def build(a: Tensor, b: Tensor) -> Tensor:
        a, b = padded(a, b)
        return contract(a, labels, b, labels, labels)

    return flow.rooted(node, (first, second), build)


@rule(aten.div.Tensor, aten.div.Scalar, aten.true_divide.Tensor)
def _div(flow: Dataflow, node: Node) -> Value | Tensor:
    if node.kwargs.get("rounding_mode") is not None:
        raise Inexpressible("an integer division")
    first, second = flow.value(node.args[0]), flow.value(node.args[1])
    below = constant_of(second.tensor)
    if below is None:
        return normalised(first.tensor, second.tensor)
    if constant_of(first.tensor) is not None or isinstance(first.tensor.formula, Membership):
        return pointwise(node.meta["val"].dtype, operator.truediv, first.tensor, second.tensor)
    if below == 0:
        raise Inexpressible("a division by 0")
    return _scaled(1 / below, first, second.tensor)


def _scaled(number: float, of: Value, by: Tensor) -> Value:
    """A tensor times a constant: like a rearrangement, it leaves both views of it known."""
    if number == 0 or not math.isfinite(number):
        raise Inexpressible(f"a product with {number}")
    return of.changed(lambda t: Tensor(together(*padded(t, by)), t.scaled(number).formula))


@rule(aten.add.Tensor, aten.add.Scalar)
def _add(flow: Dataflow, node: Node) -> Value | Tensor:
    scale = node.kwargs.get("alpha", 1)
    if scale != 1:
        raise Inexpressible("a sum")
    first, second = flow.tensor(node.args[0]), flow.tensor(node.args[1])
    if any(isinstance(t.formula, Position) for t in (first, second)):
        return _position(operator.add, first, second)
    masks = [t for t in (first, second) if isinstance(t.formula, Membership)]
    others = [t for t in (first, second) if constant_of(t) is None and t not in masks]
    if len(masks) == 1 and len(others) == 1:
        return masked(masks[0], others[0])
    return pointwise(node.meta["val"].dtype, operator.add, first, second)


@rule(aten.sub.Tensor, aten.sub.Scalar)
def _sub(flow: Dataflow, node: Node) -> Tensor:
    first, second = flow.tensor(node.args[0]), flow.tensor(node.args[1])
    if node.kwargs.get("alpha", 1) != 1:
        raise Inexpressible("a difference")
    return pointwise(node.meta["val"].dtype, operator.sub, first, second)


@rule(aten.rsub.Scalar, aten.rsub.Tensor)
def _rsub(flow: Dataflow, node: Node) -> Tensor:
    first, second = flow.tensor(node.args[0]), flow.tensor(node.args[1])
    return pointwise(node.meta["val"].dtype, lambda a, b: b - a, first, second)


def _position(function: Callable[[Any, Any], Any], a: Tensor, b: Tensor) -> Tensor:
    """Sums of indices, and their multiples."""
    a, b = aligned(a, b)
    numbers = []
    for tensor in (a, b):
        constant = constant_of(tensor)
        if constant is not None:
            numbers.append(Position((), int(constant)))
        elif isinstance(tensor.formula, Position):
            numbers.append(tensor.formula)
        else:
            raise Inexpressible("arithmetic on indices")
    first, second = numbers
    if function is operator.add:
        result = Position(first.terms + second.terms, first.offset + second.offset)
    else:
        if first.terms and second.terms:
            raise Inexpressible("a product of indices")
        if not first.terms:
            first, second = second, first
        by = second.offset
        result = Position(tuple((index, stride * by) for index, stride in first.terms), first.offset * by)
    return Tensor(together(a, b), result)
