"""Masks that tell chosen rows from the others, and logits of which a mask leaves only the chosen."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch.fx import Node

from spartanc.passes.dataflow.calls import argument, axis_of, name_of, shape_of
from spartanc.passes.dataflow.flow import Dataflow
from spartanc.passes.dataflow.layouts import aligned, broadcast, reduced
from spartanc.passes.dataflow.pointwise import pointwise
from spartanc.passes.dataflow.reasons import NOT_NORMALISED, SMALLEST
from spartanc.passes.dataflow.recognise import constant_of, logits_ratio, only_factor, pick_of, ratio_of
from spartanc.passes.dataflow.rules import Rules
from spartanc.passes.index_notation import (
    Chosen,
    Dim,
    Inexpressible,
    Masked,
    Membership,
    OneHot,
    Pick,
    Position,
    Product,
    Softmax,
    Tensor,
    new_dim,
    size,
    unify,
)

aten = torch.ops.aten
rule = Rules()

# A mask's filling that leaves exactly nothing after a softmax in fp32, whatever the logits of a trained model are.
LOWEST_FILL = -1e9


@rule(aten.one_hot.default)
def _one_hot(flow: Dataflow, node: Node) -> Tensor:
    tensor = flow.tensor(node.args[0])
    pick = pick_of(tensor.formula) if isinstance(tensor.formula, Position) else None
    if pick is None or tensor.formula != Position(((pick, 1),)) or shape_of(node)[-1] != pick.size:
        raise Inexpressible("a one-hot of something else than chosen rows")
    row = new_dim(pick.size)
    return Tensor((*tensor.dims, row), OneHot(pick, row))


@rule(aten.amax.default, aten.any.dim)
def _reduced_one_hot(flow: Dataflow, node: Node) -> Tensor:
    tensor = flow.tensor(node.args[0])
    dim = argument(node, 1, "dim")
    if not isinstance(tensor.formula, OneHot) or not isinstance(dim, int | list | tuple):
        raise Inexpressible(f"`{name_of(node)}` is not a step of a memory lookup")
    axes = {axis_of(tensor, d) for d in ([dim] if isinstance(dim, int) else dim)}
    return many_hot(tensor, axes, bool(argument(node, 2, "keepdim", False)))


def many_hot(tensor: Tensor, axes: set[int], keep: bool) -> Tensor:
    """The sum of one-hot rows over all ranks: 1 at the chosen rows."""
    formula = tensor.formula
    assert isinstance(formula, OneHot)
    if [tensor.dims[a] for a in axes] != [formula.pick.rank] or size(formula.pick.rank) != formula.pick.selection.count:
        raise Inexpressible("a sum of one-hot rows that is not over the chosen")
    mask = Membership(formula.pick.selection, formula.index, 1.0, 0.0)
    return Tensor(reduced(tensor.dims, axes, keep), mask)


@rule(aten.scatter.src, aten.scatter.value)
def _scatter(flow: Dataflow, node: Node) -> Tensor:
    base, indices = flow.tensor(node.args[0]), flow.tensor(node.args[2])
    axis = axis_of(base, node.args[1])
    source = flow.tensor(node.args[3] if len(node.args) > 3 else node.kwargs.get("src", node.kwargs.get("value")))
    pick = pick_of(indices.formula) if isinstance(indices.formula, Position) else None
    if pick is None or indices.formula != Position(((pick, 1),)) or indices.dims[axis] != pick.rank:
        raise Inexpressible("a scatter at something else than chosen rows")
    if size(base.dims[axis]) != pick.size:
        raise Inexpressible("a scatter along another axis than the parents")
    if size(pick.rank) != pick.selection.count:
        raise Inexpressible("a scatter of some of the chosen rows")
    for at in range(len(base.dims)):
        if at != axis and base.dims[at] != indices.dims[at]:
            base, indices = unify(base, indices, at, at)
    row = base.dims[axis]
    background, written = constant_of(base), constant_of(source)
    if background is not None and written is not None:
        return Tensor(base.dims, Membership(pick.selection, row, written, background))
    if written is not None:
        mask = Tensor(base.dims, Membership(pick.selection, row, written, 0.0))
        return masked(mask, base)
    if background is None or not isinstance(source.formula, Product):
        raise Inexpressible("a scatter that is not a step of a memory lookup")
    if source.dims[axis] != pick.rank:
        raise Inexpressible("what is scattered does not stand at the chosen rows")
    return _scattered(base, row, source.formula, pick, background)


def _scattered(base: Tensor, row: Dim, formula: Product, pick: Pick, background: float) -> Tensor:
    """Logits of the chosen into minus infinity, or their weights into zeros."""
    selection = pick.selection
    if not selection.largest:
        raise Inexpressible(SMALLEST)
    if background == 0.0 and formula == Product(1.0, (only_factor(formula),)):
        factor = only_factor(formula)
        if isinstance(factor, Chosen) and factor.selection == selection and factor.index == (pick,):
            return Tensor(base.dims, Product(1.0, (replace(factor, index=row),)))
        if isinstance(factor, Softmax) and pick.size == 1 and factor.over == ():
            return Tensor(base.dims, formula)
        if isinstance(factor, Softmax):
            raise Inexpressible(NOT_NORMALISED)
    if background <= LOWEST_FILL:
        ratio = ratio_of(formula, (pick,), selection)
        if ratio is not None:
            return Tensor(base.dims, Masked(selection, ratio, row))
    if background < 0:
        raise Inexpressible(f"the mask is filled with {background}, which does not rule a parent out")
    raise Inexpressible("a scatter that is not a step of a memory lookup")


@rule(aten.where.self, aten.where.ScalarSelf, aten.where.ScalarOther, aten.where.Scalar)
def _where(flow: Dataflow, node: Node) -> Tensor:
    condition, inside, outside = (flow.tensor(a) for a in node.args[:3])
    member = condition.formula
    if not isinstance(member, Membership):
        raise Inexpressible("a choice by something else than chosen rows")
    picked = constant_of(inside), constant_of(outside)
    if picked[0] is not None and picked[1] is not None:
        values = {1.0: picked[0], 0.0: picked[1]}
        mask = replace(member, inside=values[member.inside], outside=values[member.outside])
        return Tensor(broadcast((condition, inside, outside)), mask)
    if picked[1] is not None:
        fill, logits = picked[1], inside
        mask = replace(member, inside=0.0 if member.inside else fill, outside=0.0 if member.outside else fill)
    elif picked[0] is not None:
        fill, logits = picked[0], outside
        mask = replace(member, inside=fill if member.inside else 0.0, outside=fill if member.outside else 0.0)
    else:
        raise Inexpressible("a choice between two tensors")
    return masked(replace(condition, formula=mask), logits)


@rule(aten.masked_fill.Scalar, aten.masked_fill.Tensor)
def _masked_fill(flow: Dataflow, node: Node) -> Tensor:
    logits, condition = flow.tensor(node.args[0]), flow.tensor(node.args[1])
    fill = constant_of(flow.tensor(node.args[2]))
    member = condition.formula
    if not isinstance(member, Membership) or fill is None:
        raise Inexpressible("a mask of something else than chosen rows")
    mask = replace(member, inside=fill if member.inside else 0.0, outside=fill if member.outside else 0.0)
    if constant_of(logits) is not None:
        return pointwise(node.meta["val"].dtype, lambda m: fill if m else constant_of(logits), condition)
    return masked(replace(condition, formula=mask), logits)


def masked(mask: Tensor, logits: Tensor) -> Tensor:
    """Logits that a mask leaves as they are on one side, and something very low on the other."""
    mask, logits = aligned(mask, logits)
    member = mask.formula
    assert isinstance(member, Membership)
    selection = member.selection
    if member.inside <= LOWEST_FILL and member.outside == 0:
        selection = selection.chosen
    elif not (member.outside <= LOWEST_FILL and member.inside == 0):
        low = min(member.inside, member.outside)
        raise Inexpressible(f"the mask is filled with {low}, which does not rule a parent out")
    if not selection.largest:
        raise Inexpressible(SMALLEST)
    if member.index not in logits.dims:
        raise Inexpressible("the mask is of another axis")
    ratio = logits_ratio(logits, logits.dims.index(member.index), selection)
    if ratio is None:
        raise Inexpressible("the mask is of other logits than those it was made from")
    return Tensor(logits.dims, Masked(selection, ratio, member.index))
