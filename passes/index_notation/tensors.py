"""Tensors as formulas with a layout: two of them brought to the same variables, multiplied and summed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from spartanc.passes.index_notation.formulas import Digit, Dim, Formula, Inexpressible, Masked, Product, product, size
from spartanc.passes.index_notation.variables import depends, overlap, split, substitute, substitute_dim


@dataclass(frozen=True)
class Tensor:
    """A formula with its layout. A dimension whose variable the formula does not hold is broadcast."""

    dims: tuple[Dim, ...]
    formula: Formula

    def substitute(self, old: Digit, new: Dim) -> Tensor:
        formula = self.formula
        if depends(formula, (old,)):
            formula = substitute(formula, old, new)
        return Tensor(tuple(substitute_dim(dim, old, new) for dim in self.dims), formula)

    def scaled(self, factor: float) -> Tensor:
        match self.formula:
            case Product():
                return replace(self, formula=replace(self.formula, coefficient=self.formula.coefficient * factor))
            case Masked() if factor > 0:
                return replace(self, formula=replace(self.formula, scale=self.formula.scale * factor))
        raise Inexpressible(f"multiplied by {factor}")


def unify(a: Tensor, b: Tensor, at_a: int, at_b: int) -> tuple[Tensor, Tensor]:
    """Both tensors with dimension `at_a` of the one and `at_b` of the other run by the same variables."""
    left, right = a.dims[at_a], b.dims[at_b]
    if left == right:
        return a, b
    if size(left) != size(right):
        raise Inexpressible("dimensions of different size meet")
    if not depends(a.formula, left):
        return _with_dim(a, at_a, right), b
    if not depends(b.formula, right):
        return a, _with_dim(b, at_b, left)
    for old, new in _pairs(left, right):
        a, b = a.substitute(old, (new,)), b.substitute(old, (new,))
    if a.dims[at_a] != b.dims[at_b]:
        raise Inexpressible("two dimensions cannot be brought together")
    return a, b


def _with_dim(tensor: Tensor, at: int, dim: Dim) -> Tensor:
    return replace(tensor, dims=(*tensor.dims[:at], dim, *tensor.dims[at + 1 :]))


def _pairs(left: Dim, right: Dim) -> Iterator[tuple[Digit, Digit]]:
    """(old, new) substitutions that make two dimensions of equal size one."""
    a, b = list(left), list(right)
    while a and b:
        x, y = a.pop(0), b.pop(0)
        if not (isinstance(x, Digit) and isinstance(y, Digit)):
            raise Inexpressible("two dimensions cannot be brought together")
        if x.size != y.size:
            if not (x.size.is_Integer and y.size.is_Integer):
                raise Inexpressible("two dimensions cannot be brought together")
            if x.size > y.size:
                x, rest = split(x, y.size)
                a.insert(0, rest)
            else:
                y, rest = split(y, x.size)
                b.insert(0, rest)
        if x == y:
            continue
        if x.whole and y.whole:
            yield (x, y) if x.axis.number > y.axis.number else (y, x)
        else:
            yield (x, y) if x.whole else (y, x)
    if a or b:
        raise Inexpressible("two dimensions cannot be brought together")


def contract(
    a: Tensor, a_labels: Sequence[str], b: Tensor, b_labels: Sequence[str], out_labels: Sequence[str]
) -> Tensor:
    """einsum of two tensors, as one product with the labels that do not come out summed over."""
    if len(set(a_labels)) != len(a_labels) or len(set(b_labels)) != len(b_labels):
        raise Inexpressible("a diagonal is taken")
    if not (isinstance(a.formula, Product) and isinstance(b.formula, Product)):
        raise Inexpressible("a mask is multiplied")
    for label in a_labels:
        if label in b_labels:
            i, j = list(a_labels).index(label), list(b_labels).index(label)
            if a.dims[i] != () and b.dims[j] != ():
                a, b = unify(a, b, i, j)
    dim_of: dict[str, Dim] = {}
    for labels, tensor in ((a_labels, a), (b_labels, b)):
        for label, dim in zip(labels, tensor.dims, strict=True):
            if dim != () or label not in dim_of:
                dim_of[label] = dim
    if not (isinstance(a.formula, Product) and isinstance(b.formula, Product)):
        raise Inexpressible("a factor is a choice, not a number")
    multiplied = _multiplied(a.formula, b.formula, dim_of)
    for label in dim_of:
        if label not in out_labels:
            multiplied = summed(multiplied, dim_of[label])
    return checked(Tensor(tuple(dim_of[label] for label in out_labels), multiplied))


def _multiplied(a: Product, b: Product, dim_of: dict[str, Dim]) -> Product:
    for one, other in ((a, b), (b, a)):
        if depends(other, one.bound) or any(depends((digit,), one.bound) for dim in dim_of.values() for digit in dim):
            raise Inexpressible("an index that was summed over is used again")
    return product(a.coefficient * b.coefficient, a.factors + b.factors, a.bound + b.bound)


def summed(formula: Product, dim: Dim) -> Product:
    """The sum over a dimension; over one that the formula does not depend on, a multiple."""
    for digit in dim:
        assert isinstance(digit, Digit)
        if depends(formula, (digit,)):
            formula = product(formula.coefficient, formula.factors, (*formula.bound, digit))
        elif digit.size.is_Integer:
            formula = replace(formula, coefficient=formula.coefficient * int(digit.size))
        else:
            raise Inexpressible("a sum over copies, of a number that is not fixed")
    return formula


def checked(tensor: Tensor) -> Tensor:
    """The tensor itself, after making sure that no variable runs along two of its dimensions."""
    seen: list[Digit] = []
    for dim in tensor.dims:
        own: list[Digit] = []
        for digit in dim:
            assert isinstance(digit, Digit)
            if any(overlap(digit, other) for other in seen):
                raise Inexpressible("a diagonal is taken")
            own.append(digit)
        seen += own
    return tensor
