"""Selections of rows, by topk, sort, max and their like: values and indices of the largest entries of logits."""

from __future__ import annotations

import operator
from dataclasses import replace

import sympy
import torch
from torch.fx import Node

from spartanc.passes.dataflow.calls import argument, axis_of, shape_of
from spartanc.passes.dataflow.flow import Dataflow
from spartanc.passes.dataflow.reasons import THRESHOLD
from spartanc.passes.dataflow.rules import Rules
from spartanc.passes.dataflow.value import Value
from spartanc.passes.index_notation import (
    Chosen,
    Digit,
    Dim,
    Formula,
    Inexpressible,
    Leaf,
    Masked,
    Pick,
    Position,
    Product,
    Selection,
    Softmax,
    Tensor,
    depends,
    new_dim,
    size,
    substitute,
)

aten = torch.ops.aten
rule = Rules()


@rule(aten.topk.default)
def _topk(flow: Dataflow, node: Node) -> None:
    count = node.args[1]
    if not isinstance(count, int):
        flow.anchors[node] = "K is not a constant"
        return
    axis, largest = argument(node, 2, "dim", -1), argument(node, 3, "largest", True)
    flow.tuples[node] = _select_rows(flow, node, axis, count, largest)


@rule(aten.sort.default, aten.sort.stable, aten.argsort.default, aten.argsort.stable)
def _sort(flow: Dataflow, node: Node) -> None:
    names = {"dim": node.kwargs.get("dim"), "descending": node.kwargs.get("descending")}
    place = 2 if node.target is aten.sort.stable else 1
    axis = names["dim"] if names["dim"] is not None else argument(node, place, "dim", -1)
    descending = (
        names["descending"] if names["descending"] is not None else argument(node, place + 1, "descending", False)
    )
    source = node.args[0]
    assert isinstance(source, Node)
    count = shape_of(source)[axis] if source.meta["val"].dim() else sympy.Integer(1)
    if not descending or not count.is_Integer:
        flow.anchors[node] = "a sort that is not of parent logits from the largest down"
        return
    values, indices = _select_rows(flow, node, axis, int(count), True)
    if node.target in (aten.argsort.default, aten.argsort.stable):
        flow.values[node] = Value(indices, indices)
    else:
        flow.tuples[node] = (values, indices)


@rule(aten.max.dim)
def _max(flow: Dataflow, node: Node) -> None:
    values, indices = _select_rows(flow, node, node.args[1], 1, True)
    if not argument(node, 2, "keepdim", False):
        axis = axis_of(flow.tensor(node.args[0]), node.args[1])
        values, indices = (Tensor(t.dims[:axis] + t.dims[axis + 1 :], t.formula) for t in (values, indices))
    flow.tuples[node] = (values, indices)


@rule(aten.argmax.default)
def _argmax(flow: Dataflow, node: Node) -> Tensor:
    axis = argument(node, 1, "dim")
    if not isinstance(axis, int):
        raise Inexpressible("argmax over everything")
    _, indices = _select_rows(flow, node, axis, 1, True)
    if argument(node, 2, "keepdim", False):
        return indices
    axis = axis_of(flow.tensor(node.args[0]), axis)
    return Tensor(indices.dims[:axis] + indices.dims[axis + 1 :], indices.formula)


@rule(aten.kthvalue.default)
def _threshold(flow: Dataflow, node: Node) -> None:
    axis = node.args[2] if len(node.args) > 2 else -1
    try:
        _select_rows(flow, node, axis, int(node.args[1]), True)
    except Inexpressible:
        return
    finally:
        if isinstance(flow.anchors.get(node), Selection):
            flow.anchors[node] = THRESHOLD


@rule(operator.getitem)
def _getitem(flow: Dataflow, node: Node) -> Value | None:
    source, at = node.args
    if source in flow.tuples:
        return Value(flow.tuples[source][at], flow.leaf(node))
    flow.source(node, "")
    return None


def _select_rows(flow: Dataflow, node: Node, axis: int, count: int, largest: bool) -> tuple[Tensor, Tensor]:
    """Values and indices of a ranking; the node is recorded as an anchor, also where it selects no parents."""
    try:
        tensor = flow.tensor(node.args[0])
        axis = axis_of(tensor, axis)
        formula, dim = tensor.formula, tensor.dims[axis]
        rank = new_dim(count)
        known = _ranked(formula, dim)
        if known is not None:
            selection, at = known
            if not largest or count > selection.count:
                raise Inexpressible("rows are selected a second time, in another way")
            selection = replace(selection, count=count)
        else:
            logits = formula
            if isinstance(formula, Product) and len(formula.factors) == 1 and isinstance(formula.factors[0], Softmax):
                softmax = formula.factors[0]
                if softmax.over != dim or formula.coefficient <= 0:
                    raise Inexpressible("softmax over a wrong axis, before the selection")
                logits = softmax.logits
            if not _are_logits(logits, dim):
                raise Inexpressible(_why_no_logits(flow, logits))
            assert isinstance(logits, Product)
            if logits.coefficient < 0:
                raise Inexpressible("the parent logits are negated before they are ranked")
            selection, at = Selection(logits, dim, count, largest), dim
    except Inexpressible as error:
        flow.anchors[node] = str(error)
        raise
    flow.anchors[node] = selection
    pick = Pick(selection, rank, size(at))
    dims = (*tensor.dims[:axis], rank, *tensor.dims[axis + 1 :])
    if isinstance(formula, Masked):
        formula = replace(selection.logits, coefficient=selection.logits.coefficient * formula.scale)
        at = selection.over
    values = formula
    for digit in at:
        assert isinstance(digit, Digit)
        values = substitute(values, digit, (pick,))
    return Tensor(dims, values), Tensor(dims, Position(((pick, 1),)))


def _ranked(formula: Formula, dim: Dim) -> tuple[Selection, Dim] | None:
    """The selection that already decided which entries along `dim` are large."""
    if isinstance(formula, Masked) and formula.index == dim:
        return formula.selection, dim
    if isinstance(formula, Product) and len(formula.factors) == 1 and formula.coefficient > 0:
        factor = formula.factors[0]
        if isinstance(factor, Chosen) and factor.index == dim:
            return factor.selection, dim
    return None


def _are_logits(formula: Formula, dim: Dim) -> bool:
    """A product of two sources, summed over something, of which exactly one is run through by `dim`."""
    if not isinstance(formula, Product) or len(formula.factors) != 2 or len(dim) > 1:
        return False
    if not all(isinstance(factor, Leaf) for factor in formula.factors):
        return False
    return not dim or sum(depends(factor, dim) for factor in formula.factors) == 1


def _why_no_logits(flow: Dataflow, formula: Formula) -> str:
    if isinstance(formula, Product) and len(formula.factors) == 1 and isinstance(formula.factors[0], Leaf):
        why = flow.why.get(formula.factors[0].node)
        if why:
            return f"it does not rank parent logits: {why}"
    return "it does not rank parent logits, the product of a vector with a matrix"
