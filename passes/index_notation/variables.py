"""The variables in a formula: which it depends on, how views split and join them, and one replaced by others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import sympy

from spartanc.passes.index_notation.formulas import (
    Chosen,
    Digit,
    Dim,
    Index,
    Inexpressible,
    Leaf,
    Masked,
    Membership,
    OneHot,
    Pick,
    Position,
    Product,
    Restricted,
    Selection,
    Softmax,
    product,
    whole,
)


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


def depends(thing, dim: Dim) -> bool:
    used = list(digits(thing))
    return any(overlap(d, u) for d in dim if isinstance(d, Digit) for u in used)


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
            rank = substitute_dim(thing.rank, old, new)
            return (Pick(substitute(thing.selection, old, new), rank, thing.size),)
        case Selection():
            if not depends(thing, (old,)):
                return thing
            if depends(new, thing.over):
                raise Inexpressible("an index stands for two things")
            return replace(thing, logits=substitute(thing.logits, old, new))
        case Leaf():
            return replace(thing, index=tuple(substitute_dim(dim, old, new) for dim in thing.index))
        case Softmax():
            return Softmax(substitute(thing.logits, old, new), substitute_dim(thing.over, old, new))
        case Chosen() | Restricted() | Masked() | Membership():
            return replace(
                thing,
                selection=substitute(thing.selection, old, new),
                index=substitute_dim(thing.index, old, new),
            )
        case OneHot():
            return OneHot(substitute(thing.pick, old, new)[0], substitute_dim(thing.index, old, new))
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


def substitute_dim(dim: Dim, old: Digit, new: Dim) -> Dim:
    return merged([part for index in dim for part in substitute(index, old, new)])
