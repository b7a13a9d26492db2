"""Pointwise operators that only constants and masks go through: torch itself computes their few values."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch.fx import Node

from spartanc.passes.dataflow.flow import Dataflow
from spartanc.passes.dataflow.layouts import broadcast
from spartanc.passes.dataflow.reasons import THRESHOLD
from spartanc.passes.dataflow.rules import Rules
from spartanc.passes.index_notation import Inexpressible, Membership, Product, Tensor

aten = torch.ops.aten
rule = Rules()

_FUNCTIONS: dict[Any, Callable[..., Any]] = {
    aten.neg.default: operator.neg,
    aten.pow.Tensor_Scalar: operator.pow,
    aten.pow.Scalar: operator.pow,
    aten.sqrt.default: lambda v: torch.tensor(v).sqrt(),
    aten.rsqrt.default: lambda v: torch.tensor(v).rsqrt(),
    aten.reciprocal.default: lambda v: 1 / v if v else math.inf,
    aten.exp.default: lambda v: torch.tensor(v).exp(),
    aten.log.default: lambda v: torch.tensor(v).log(),
    aten.logical_not.default: operator.not_,
    aten.eq.Scalar: operator.eq,
    aten.ne.Scalar: operator.ne,
}
_COMPARISONS: dict[Any, Callable[..., Any]] = {
    aten.ge.Tensor: operator.ge,
    aten.ge.Scalar: operator.ge,
    aten.gt.Tensor: operator.gt,
    aten.gt.Scalar: operator.gt,
    aten.le.Tensor: operator.le,
    aten.le.Scalar: operator.le,
    aten.lt.Tensor: operator.lt,
    aten.lt.Scalar: operator.lt,
}


@rule(*_FUNCTIONS)
def _computed(flow: Dataflow, node: Node) -> Tensor:
    tensors = [flow.tensor(a) for a in node.args if isinstance(a, Node | bool | int | float)]
    return pointwise(node.meta["val"].dtype, _FUNCTIONS[node.target], *tensors)


@rule(aten.bitwise_not.default)
def _bitwise_not(flow: Dataflow, node: Node) -> Tensor:
    if node.meta["val"].dtype != torch.bool:
        raise Inexpressible("`bitwise_not` of numbers")
    return pointwise(torch.bool, operator.not_, flow.tensor(node.args[0]))


@rule(*_COMPARISONS)
def _compared(flow: Dataflow, node: Node) -> Tensor:
    tensors = [flow.tensor(a) for a in node.args]
    try:
        return pointwise(node.meta["val"].dtype, _COMPARISONS[node.target], *tensors)
    except Inexpressible:
        raise Inexpressible(THRESHOLD) from None


def leads_to_threshold(node: Node, steps: int = 4) -> bool:
    """Whether what a node took out of a top-K is compared with something a few steps on."""
    if node.target in (aten.ge.Tensor, aten.gt.Tensor, aten.le.Tensor, aten.lt.Tensor):
        return True
    return steps > 0 and any(leads_to_threshold(user, steps - 1) for user in node.users)


def pointwise(dtype: torch.dtype, function: Callable[..., Any], *tensors: Tensor) -> Tensor:
    """A pointwise operator of constants and of at most one mask, computed by torch itself on their few values."""
    masks = [t.formula for t in tensors if isinstance(t.formula, Membership)]
    if len(masks) > 1 or any(
        not isinstance(t.formula, Membership) and (not isinstance(t.formula, Product) or t.formula.factors)
        for t in tensors
    ):
        raise Inexpressible("arithmetic that is not a step of a memory lookup")

    def result(inside: bool) -> float:
        numbers = []
        for t in tensors:
            if isinstance(t.formula, Membership):
                numbers.append(t.formula.inside if inside else t.formula.outside)
            else:
                assert isinstance(t.formula, Product)
                numbers.append(t.formula.coefficient)
        return float(torch.as_tensor(function(*numbers)).to(dtype))

    dims = broadcast(tensors)
    if masks:
        return Tensor(dims, replace(masks[0], inside=result(True), outside=result(False)))
    return Tensor(dims, Product(result(True)))
