"""Tensors as formulas over index variables: what a graph computes, whatever operators spell it.

A tensor is a formula and, for each of its dimensions, the index variables that run along it, major first. A `view`
then only regroups variables, a `permute` reorders them, a `gather` replaces one by "the k-th chosen"; einsum,
linear, matmul and bmm are all one product and one sum. So `x @ W.T` followed by `.view(B, S, E, C)` and
`einsum("bsh,ech->bsec")` are the same formula, and can be compared.

    Axis       a variable with its size; every source tensor has its own
    Digit      (axis // stride) % size: what is left of an axis when a view splits it
    Pick       the k-th chosen row of a selection, in place of a row's own variable
    Dim        Digits and Picks of one dimension, major first; () has size 1
    Leaf       an entry of a tensor that the graph holds or computes elsewhere
    Softmax    of a formula over the variables `over`
    Chosen     softmax over a selection's rows only, 0 at the others
    Restricted softmax over all rows, 0 at those not selected
    Product    coefficient times factors, summed over `bound`

Sizes are sympy expressions, so that a dynamic length is a size like any other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count

import sympy
import torch


class Inexpressible(Exception):
    """The result is not one of these formulas; the message says why, in words fit for a report."""


def size_of(size: int | torch.SymInt | sympy.Expr) -> sympy.Expr:
    if isinstance(size, torch.SymInt):
        return sympy.expand(size.node.expr)
    return sympy.expand(size)


def whole(size: sympy.Expr) -> int:
    """A size as a number, where the formula must know it."""
    if not size.is_Integer:
        raise Inexpressible("a dynamic size where a fixed one is needed")
    return int(size)


@dataclass(frozen=True)
class Axis:
    number: int
    size: sympy.Expr

    def __repr__(self) -> str:
        return f"i{self.number}"


_numbers = count()


def new_dim(size: int | torch.SymInt | sympy.Expr) -> Dim:
    """A dimension with a variable of its own; one of size 1 has none."""
    size = size_of(size)
    return () if size == 1 else (Digit(Axis(next(_numbers), size), sympy.Integer(1), size),)


@dataclass(frozen=True)
class Digit:
    axis: Axis
    stride: sympy.Expr
    size: sympy.Expr

    @property
    def whole(self) -> bool:
        return self.stride == 1 and self.size == self.axis.size

    def __repr__(self) -> str:
        return repr(self.axis) if self.whole else f"{self.axis!r}/{self.stride}%{self.size}"


@dataclass(frozen=True)
class Selection:
    """The `count` largest (or smallest) entries of `logits` along the variables `over`."""

    logits: Product
    over: Dim
    count: int
    largest: bool

    @property
    def chosen(self) -> Selection:
        """The rows left over when the smallest are taken away are the largest."""
        return replace(self, count=whole(size(self.over)) - self.count, largest=not self.largest)


@dataclass(frozen=True)
class Pick:
    selection: Selection
    rank: Dim
    size: sympy.Expr


Index = Digit | Pick
Dim = tuple[Index, ...]


@dataclass(frozen=True)
class Leaf:
    node: torch.fx.Node
    index: tuple[Dim, ...]


@dataclass(frozen=True)
class Softmax:
    logits: Product
    over: Dim


@dataclass(frozen=True)
class Chosen:
    """softmax over the selection's rows of `scale` times its logits, at row `index`."""

    selection: Selection
    scale: float
    index: Dim


@dataclass(frozen=True)
class Restricted:
    """softmax over all rows of `scale` times a selection's logits, kept at its rows and 0 at the others."""

    selection: Selection
    scale: float
    index: Dim


Factor = Leaf | Softmax | Chosen | Restricted


@dataclass(frozen=True)
class Product:
    """`coefficient` times the factors, summed over the variables `bound`. No factors: a constant."""

    coefficient: float
    factors: tuple[Factor, ...] = ()
    bound: tuple[Digit, ...] = ()


@dataclass(frozen=True)
class Masked:
    """`scale` times the selection's logits at chosen rows, minus infinity at the others."""

    selection: Selection
    scale: float
    index: Dim


@dataclass(frozen=True)
class Membership:
    """`inside` at the selection's rows, `outside` at the others."""

    selection: Selection
    index: Dim
    inside: float
    outside: float


@dataclass(frozen=True)
class OneHot:
    """1 where row `index` is `pick`, else 0."""

    pick: Pick
    index: Dim


@dataclass(frozen=True)
class Position:
    """An integer tensor: the sum of strides times indices, and an offset."""

    terms: tuple[tuple[Index, int], ...]
    offset: int = 0


Formula = Product | Masked | Membership | OneHot | Position


def size(dim: Dim) -> sympy.Expr:
    return sympy.expand(sympy.Mul(*(index.size for index in dim)))


def digits(thing) -> Iterator[Digit]:
    """Every variable that a formula, factor or dimension depends on: its free ones."""
    match thing:
        case Digit():
            yield thing
        case tuple():
            for part in thing:
                yield from digits(part)
        case Pick():
            yield from digits(thing.selection)
            yield from digits(thing.rank)
        case Selection():
            for digit in digits(thing.logits):
                yield from without(digit, thing.over)
        case Leaf():
            yield from digits(thing.index)
        case Softmax():
            yield from digits(thing.logits)
            yield from digits(thing.over)
        case Chosen() | Restricted() | Masked() | Membership():
            yield from digits(thing.selection)
            yield from digits(thing.index)
        case OneHot():
            yield from digits(thing.pick)
            yield from digits(thing.index)
        case Product():
            for digit in digits(thing.factors):
                yield from without(digit, thing.bound)
        case Position():
            for index, _ in thing.terms:
                yield from digits(index)


def selections(thing) -> Iterator[Selection]:
    """Every selection that a formula stands on."""
    match thing:
        case tuple():
            for part in thing:
                yield from selections(part)
        case Selection():
            yield thing
        case Pick() | Chosen() | Restricted() | Masked() | Membership():
            yield thing.selection
        case OneHot():
            yield thing.pick.selection
        case Leaf():
            yield from selections(thing.index)
        case Softmax():
            yield from selections(thing.logits)
        case Product():
            yield from selections(thing.factors)
        case Position():
            yield from (s for index, _ in thing.terms for s in selections(index))


def overlap(a: Digit, b: Digit) -> bool:
    """Whether the two name a common part of one axis."""
    if a.axis != b.axis:
        return False
    if a == b or a.whole or b.whole:
        return True
    low, high = sorted((a, b), key=lambda d: whole(d.stride))
    return whole(low.stride * low.size) > whole(high.stride)


def without(digit: Digit, taken: Sequence[Index]) -> list[Digit]:
    """What is left of a digit when those in `taken` are taken out of it."""
    left = [digit]
    for other in taken:
        if not isinstance(other, Digit) or other.axis != digit.axis:
            continue
        parts: list[Digit] = []
        for part in left:
            if not overlap(part, other):
                parts.append(part)
            elif not other.whole:
                top, other_top = part.stride * part.size, other.stride * other.size
                if top > other_top:
                    parts.append(Digit(part.axis, other_top, top // other_top))
                if other.stride > part.stride:
                    parts.append(Digit(part.axis, part.stride, other.stride // part.stride))
        left = parts
    return left


def depends(thing, dim: Dim) -> bool:
    used = list(digits(thing))
    return any(overlap(d, u) for d in dim if isinstance(d, Digit) for u in used)


def merged(dim: Sequence[Index]) -> Dim:
    """The same dimension with neighbouring digits of one axis put together again."""
    result: list[Index] = []
    for index in dim:
        last = result[-1] if result else None
        if (
            isinstance(index, Digit)
            and isinstance(last, Digit)
            and last.axis == index.axis
            and last.stride == sympy.expand(index.stride * index.size)
        ):
            result[-1] = Digit(index.axis, index.stride, sympy.expand(last.size * index.size))
        else:
            result.append(index)
    return tuple(result)


def split(digit: Digit, major: sympy.Expr) -> tuple[Digit, Digit]:
    """A digit as two, the first of size `major`."""
    if not (digit.size.is_Integer and major.is_Integer and digit.size % major == 0):
        raise Inexpressible("a dimension is split unevenly")
    minor = digit.size // major
    return Digit(digit.axis, digit.stride * minor, major), Digit(digit.axis, digit.stride, minor)


def regroup(dims: Sequence[Dim], sizes: Sequence[sympy.Expr]) -> tuple[Dim, ...]:
    """`dims` after a view to `sizes`."""
    rest: list[Index] = [index for dim in dims for index in dim]
    result = []
    for target in sizes:
        taken: list[Index] = []
        have = sympy.Integer(1)
        while have != target:
            if not rest:
                raise Inexpressible("a view that cannot be followed")
            index = rest.pop(0)
            grown = sympy.expand(have * index.size)
            if grown.is_Integer and target.is_Integer and grown > target:
                if target % have or not isinstance(index, Digit):
                    raise Inexpressible("a view that cuts across dimensions")
                index, remainder = split(index, target // have)
                rest.insert(0, remainder)
                grown = target
            taken.append(index)
            have = grown
        result.append(merged(taken))
    if rest:
        raise Inexpressible("a view that cannot be followed")
    return tuple(result)


def substitute(thing, old: Digit, new: Dim):
    """`thing` with the free variable `old` replaced by `new` throughout."""
    match thing:
        case Digit():
            if thing == old:
                return new
            if not overlap(thing, old):
                return (thing,)
            if not without(thing, (old,)):
                # `thing` is a part of `old`: take the same part of `new`.
                stride = thing.stride // old.stride
                return regroup((new,), (old.size // (stride * thing.size), thing.size, stride))[1]
            if without(old, (thing,)):
                raise Inexpressible("one index is used at two granularities")
            above = old.stride * old.size
            parts: list[Index] = []
            if thing.stride * thing.size != above:
                parts.append(Digit(thing.axis, above, thing.stride * thing.size // above))
            parts.extend(new)
            if old.stride != thing.stride:
                parts.append(Digit(thing.axis, thing.stride, old.stride // thing.stride))
            return tuple(parts)
        case Pick():
            rank = _substitute_dim(thing.rank, old, new)
            return (Pick(substitute(thing.selection, old, new), rank, thing.size),)
        case Selection():
            if not depends(thing, (old,)):
                return thing
            if depends(new, thing.over):
                raise Inexpressible("an index stands for two things")
            return replace(thing, logits=substitute(thing.logits, old, new))
        case Leaf():
            return replace(thing, index=tuple(_substitute_dim(dim, old, new) for dim in thing.index))
        case Softmax():
            return Softmax(substitute(thing.logits, old, new), _substitute_dim(thing.over, old, new))
        case Chosen() | Restricted() | Masked() | Membership():
            return replace(
                thing,
                selection=substitute(thing.selection, old, new),
                index=_substitute_dim(thing.index, old, new),
            )
        case OneHot():
            return OneHot(substitute(thing.pick, old, new)[0], _substitute_dim(thing.index, old, new))
        case Product():
            if not depends(thing, (old,)):
                return thing
            if any(overlap(old, digit) for digit in thing.bound):
                raise Inexpressible("one index is used at two granularities")
            if depends(new, thing.bound):
                raise Inexpressible("an index stands for two things")
            return product(thing.coefficient, [substitute(f, old, new) for f in thing.factors], thing.bound)
        case Position():
            terms: list[tuple[Digit, int]] = []
            for index, stride in thing.terms:
                for at, part in enumerate(reversed(substitute(index, old, new))):
                    stride *= whole(terms[-1][0].size) if at else 1
                    terms.append((part, stride))
            return Position(tuple(terms), thing.offset)
    raise TypeError(f"not a formula: {thing!r}")


def _substitute_dim(dim: Dim, old: Digit, new: Dim) -> Dim:
    return merged([part for index in dim for part in substitute(index, old, new)])


def product(coefficient: float, factors: Sequence[Factor], bound: Sequence[Digit] = ()) -> Product:
    """A product in its one order, so that equal products compare equal."""
    return Product(coefficient, tuple(sorted(factors, key=repr)), tuple(sorted(bound, key=repr)))


@dataclass(frozen=True)
class Tensor:
    """A formula with its layout. A dimension whose variable the formula does not hold is broadcast."""

    dims: tuple[Dim, ...]
    formula: Formula

    def substitute(self, old: Digit, new: Dim) -> Tensor:
        formula = self.formula
        if depends(formula, (old,)):
            formula = substitute(formula, old, new)
        return Tensor(tuple(_substitute_dim(dim, old, new) for dim in self.dims), formula)

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
