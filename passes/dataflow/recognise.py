"""What a formula is: a constant, a single factor, something at chosen rows, or a selection's logits."""

from __future__ import annotations

from dataclasses import replace

from spartanc.passes.index_notation import (
    Digit,
    Dim,
    Formula,
    Leaf,
    Pick,
    Position,
    Product,
    Selection,
    Tensor,
    size,
    substitute,
)


def constant_of(tensor: Tensor) -> float | None:
    """The number that stands everywhere in a tensor."""
    if isinstance(tensor.formula, Product) and not tensor.formula.factors:
        return tensor.formula.coefficient
    return None


def only_factor(formula: Product):
    return formula.factors[0] if len(formula.factors) == 1 else None


def pick_of(formula: Formula) -> Pick | None:
    """The chosen row at which a formula is read; None if there is no such row, or more than one."""
    if isinstance(formula, Position) and len(formula.terms) == 1 and isinstance(formula.terms[0][0], Pick):
        return formula.terms[0][0]
    if isinstance(formula, Product):
        found = {
            p for f in formula.factors if isinstance(f, Leaf) for dim in f.index for p in dim if isinstance(p, Pick)
        }
        if len(found) == 1:
            return found.pop()
    return None


def logits_ratio(tensor: Tensor, axis: int, selection: Selection) -> float | None:
    """By how much `tensor` is a selection's logits with dimension `axis` as their rows; None if it is not."""
    if not isinstance(tensor.formula, Product) or size(tensor.dims[axis]) != size(selection.over):
        return None
    return ratio_of(tensor.formula, tensor.dims[axis], selection)


def ratio_of(formula: Product, index: Dim, selection: Selection) -> float | None:
    """By how much `formula` is a selection's logits at row `index`; None if it is not."""
    if len(selection.over) > 1:
        return None
    expected = selection.logits
    if selection.over:
        digit = selection.over[0]
        assert isinstance(digit, Digit)
        expected = substitute(expected, digit, index)
    if replace(expected, coefficient=1.0) != replace(formula, coefficient=1.0):
        return None
    ratio = formula.coefficient / selection.logits.coefficient
    return ratio if ratio > 0 else None
