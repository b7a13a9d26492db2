"""The formulas themselves, and the variables and sizes that they are written in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count

import sympy
import torch


class Inexpressible(Exception):
    """The result is not one of these formulas; the message says why, in words fit for a report."""


@dataclass(frozen=True)
class Axis:
    number: int
    size: sympy.Expr

    def __repr__(self) -> str:
        return f"i{self.number}"


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


def size_of(size: int | torch.SymInt | sympy.Expr) -> sympy.Expr:
    if isinstance(size, torch.SymInt):
        return sympy.expand(size.node.expr)
    return sympy.expand(size)


def whole(size: sympy.Expr) -> int:
    """A size as a number, where the formula must know it."""
    if not size.is_Integer:
        raise Inexpressible("a dynamic size where a fixed one is needed")
    return int(size)


_numbers = count()


def new_dim(size: int | torch.SymInt | sympy.Expr) -> Dim:
    """A dimension with a variable of its own; one of size 1 has none."""
    size = size_of(size)
    return () if size == 1 else (Digit(Axis(next(_numbers), size), sympy.Integer(1), size),)


def size(dim: Dim) -> sympy.Expr:
    return sympy.expand(sympy.Mul(*(index.size for index in dim)))


def product(coefficient: float, factors: Sequence[Factor], bound: Sequence[Digit] = ()) -> Product:
    """A product in its one order, so that equal products compare equal."""
    return Product(coefficient, tuple(sorted(factors, key=repr)), tuple(sorted(bound, key=repr)))
