"""Weights of rows: softmax over all of them or over the chosen ones, and the first made into the second."""

from __future__ import annotations

import torch
from torch.fx import Node

from spartanc.passes.dataflow.calls import argument, axis_of
from spartanc.passes.dataflow.flow import Dataflow
from spartanc.passes.dataflow.layouts import aligned, padded
from spartanc.passes.dataflow.reasons import SMALLEST, WRONG_AXIS
from spartanc.passes.dataflow.recognise import only_factor, pick_of, ratio_of
from spartanc.passes.dataflow.rules import Rules
from spartanc.passes.index_notation import (
    Chosen,
    Dim,
    Inexpressible,
    Leaf,
    Masked,
    Membership,
    Pick,
    Product,
    Restricted,
    Softmax,
    Tensor,
    summed,
)

aten = torch.ops.aten
rule = Rules()


@rule(aten.softmax.int, aten._softmax.default)
def _softmax(flow: Dataflow, node: Node) -> Tensor:
    tensor = flow.tensor(node.args[0])
    axis = axis_of(tensor, argument(node, 1, "dim"))
    if node.meta["val"].dtype != torch.float32:
        raise Inexpressible("a softmax that is not in fp32")
    formula, dim = tensor.formula, tensor.dims[axis]
    if isinstance(formula, Masked):
        if formula.index != dim:
            raise Inexpressible(WRONG_AXIS)
        return Tensor(tensor.dims, Product(1.0, (Chosen(formula.selection, formula.scale, formula.index),)))
    if not isinstance(formula, Product) or not all(isinstance(f, Leaf) for f in formula.factors):
        raise Inexpressible("softmax of something that is not logits")
    pick = pick_of(formula)
    if pick is not None:
        ratio = ratio_of(formula, (pick,), pick.selection)
        if ratio is not None:
            if pick.rank != dim:
                raise Inexpressible(WRONG_AXIS)
            if not pick.selection.largest:
                raise Inexpressible(SMALLEST)
            return Tensor(tensor.dims, Product(1.0, (Chosen(pick.selection, ratio, (pick,)),)))
    return Tensor(tensor.dims, Product(1.0, (Softmax(formula, dim),)))


def restricted(mask: Tensor, weights: Tensor) -> Tensor:
    """softmax over all parents, kept at the chosen ones."""
    mask, weights = aligned(mask, weights)
    member, formula = mask.formula, weights.formula
    assert isinstance(member, Membership)
    if (member.inside, member.outside) != (1.0, 0.0) or not isinstance(formula, Product) or formula.bound:
        raise Inexpressible("a mask is multiplied")
    factor = only_factor(formula)
    if not isinstance(factor, Softmax) or factor.over != member.index or formula.coefficient != 1.0:
        raise Inexpressible("a mask is multiplied by something else than weights of parents")
    ratio = ratio_of(factor.logits, factor.over, member.selection)
    if ratio is None:
        raise Inexpressible("the mask is of other logits than those it was made from")
    return Tensor(weights.dims, Product(1.0, (Restricted(member.selection, ratio, member.index),)))


def normalised(above: Tensor, below: Tensor) -> Tensor:
    """softmax over all parents, taken at the chosen ones and divided by its sum there: softmax over the chosen."""
    above, below = padded(above, below)
    for tensor in (above, below):
        if not isinstance(tensor.formula, Product) or len(tensor.formula.factors) != 1:
            raise Inexpressible("a division by something that is not one constant")
    assert isinstance(above.formula, Product) and isinstance(below.formula, Product)
    factor = above.formula.factors[0]
    if isinstance(factor, Restricted):
        rows: Dim = factor.index
        chosen = Chosen(factor.selection, factor.scale, factor.index)
    elif isinstance(factor, Softmax) and len(factor.over) == 1 and isinstance(factor.over[0], Pick):
        pick = factor.over[0]
        rows, ratio = pick.rank, ratio_of(factor.logits, (pick,), pick.selection)
        if ratio is None:
            raise Inexpressible("a division by something that is not one constant")
        chosen = Chosen(pick.selection, ratio, (pick,))
    else:
        raise Inexpressible("a division by something that is not one constant")
    total = summed(above.formula, rows)
    if above.formula.bound or below.formula != total:
        raise Inexpressible("a division by something that is not one constant")
    if any(a != b and not (b == () and a == rows) for a, b in zip(above.dims, below.dims, strict=True)):
        raise Inexpressible("a division by something that is not one constant")
    return Tensor(above.dims, Product(1.0, (chosen,)))
