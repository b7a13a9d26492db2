"""Whether a formula is SPARTAN's memory, and where its x, parents, keys and values stand.

Source: arXiv 2211.16634, section 3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import sympy
import torch
from torch.fx import Node

from spartanc.passes.dataflow import NOT_NORMALISED, SMALLEST, Dataflow
from spartanc.passes.index_notation import (
    Chosen,
    Digit,
    Dim,
    Leaf,
    Pick,
    Product,
    Restricted,
    Selection,
    Softmax,
    Tensor,
    merged,
    overlap,
    size,
    without,
)


@dataclass(frozen=True)
class Table:
    """Rows of length H out of a tensor of any layout: its dimensions that run over rows, then those over H."""

    node: Node
    order: tuple[int, ...]
    rows: sympy.Expr
    hidden: sympy.Expr


@dataclass
class Site:
    """A memory in the graph: `node` computes y."""

    node: Node
    dims: tuple[Dim, ...]
    x: Node
    x_order: tuple[int, ...]
    positions: tuple[Dim, ...]
    hidden: Dim
    parents: Table
    parent_scale: float
    keys: Table
    values: Table
    top_k: int
    temperature: float
    selections: frozenset[Selection] = field(default_factory=frozenset)
    same_x: frozenset[Node] = field(default_factory=frozenset)


class Mismatch(Exception):
    """The reason why a complete formula is not a memory."""


def match(node: Node, tensor: Tensor, flow: Dataflow | None = None) -> Site | None:
    """The memory that a formula is; None if it is not even a sum of values by two weights.

    Raises Mismatch with the reason for one that resembles a memory and is none.
    """
    formula = tensor.formula
    if not isinstance(formula, Product):
        return None
    weights = [f for f in formula.factors if not isinstance(f, Leaf)]
    leaves = [f for f in formula.factors if isinstance(f, Leaf)]
    if len(weights) != 2 or len(leaves) != 1:
        return None
    if any(isinstance(f, Restricted) for f in weights):
        raise Mismatch(NOT_NORMALISED)
    chosen = [f for f in weights if isinstance(f, Chosen)]
    if len(chosen) == 2:
        raise Mismatch("the children's softmax runs over chosen parents")
    if chosen:
        (children,) = (f for f in weights if isinstance(f, Softmax))
        return _site(node, tensor, chosen[0], children, leaves[0], flow)
    problem: Mismatch | None = None
    for parent, child in (weights, weights[::-1]):
        assert isinstance(parent, Softmax) and isinstance(child, Softmax)
        if len(parent.over) == 1 and isinstance(parent.over[0], Pick):
            pick = parent.over[0]
            if size(pick.rank) != pick.size:
                raise Mismatch(NOT_NORMALISED)
        try:
            everyone = Chosen(Selection(parent.logits, parent.over, int(size(parent.over)), True), 1.0, parent.over)
            return _site(node, tensor, everyone, child, leaves[0], flow)
        except (Mismatch, TypeError) as mismatch:
            problem = problem or (mismatch if isinstance(mismatch, Mismatch) else None)
    raise problem or Mismatch("the weights are not those of parents and children")


def _site(node: Node, tensor: Tensor, parent: Chosen, child: Softmax, values: Leaf, flow: Dataflow | None) -> Site:
    formula = tensor.formula
    assert isinstance(formula, Product)
    selection = parent.selection
    if not selection.largest:
        raise Mismatch(SMALLEST)
    x, parents = _sides(selection.logits, selection.over, tensor, flow)
    x_child, keys = _sides(child.logits, child.over, tensor, flow)
    _check_same_x(x, x_child, selection.logits, child.logits)
    hidden_parent = _bound_dims(parents, selection.logits)
    keys_index = tuple(dim for dim in keys.index if not _is_bound(dim, child.logits))
    rows = flat(keys_index)
    wanted = merged((*parent.index, *child.over))
    if rows != wanted:
        raise Mismatch(_why_rows(rows, parent, child))
    if flat(_without_suffix(values, wanted)) != wanted:
        raise Mismatch(_why_values(values, wanted))
    hidden_values = _rest(values, wanted)
    _check_sum(tensor, formula, wanted, x, selection.logits, hidden_values)
    if formula.coefficient != 1.0:
        raise Mismatch(f"the weights are multiplied by {formula.coefficient}")
    scale = selection.logits.coefficient * parent.scale
    if not (math.isfinite(child.logits.coefficient) and child.logits.coefficient > 0):
        raise Mismatch(f"the temperature is 1/{child.logits.coefficient}, not above 0")
    if any(leaf.node.meta["val"].dtype != torch.float32 for leaf in (x, parents, keys, values)):
        raise Mismatch("the memory is not in fp32")
    _check_order(x, selection.logits, parents, selection.logits)
    _check_order(x_child, child.logits, keys, child.logits)
    outer = [at for at, dim in enumerate(x.index) if not _is_bound(dim, selection.logits)]
    positions = tuple(x.index[at] for at in outer)
    x_order = (*outer, *(at for at in range(len(x.index)) if at not in outer))
    hidden = tuple(d for dim in x.index if _is_bound(dim, selection.logits) for d in dim)
    if size(hidden) != size(flat(hidden_values)) or size(hidden) != size(flat(hidden_parent)):
        raise Mismatch("the values are not as long as x")
    return Site(
        node=node,
        dims=tensor.dims,
        x=x.node,
        x_order=x_order,
        positions=positions,
        hidden=flat(hidden_values),
        parents=_table(parents, hidden_parent),
        parent_scale=scale,
        keys=_table(keys, _bound_dims(keys, child.logits)),
        values=_table(values, hidden_values),
        top_k=selection.count,
        temperature=_temperature(child.logits.coefficient),
        selections=frozenset((selection, *(p.selection for p in parent.index if isinstance(p, Pick)))),
    )


def _temperature(scale: float) -> float:
    """1 / scale, undoing the rounding of a reciprocal where a short decimal number was meant."""
    exact = 1.0 / scale
    short = float(f"{exact:.12g}")
    return short if math.isclose(short, exact, rel_tol=1e-14) else exact


def _sides(logits: Product, over: Dim, tensor: Tensor, flow: Dataflow | None) -> tuple[Leaf, Leaf]:
    """(x, matrix) of logits: x has the positions of the result, the matrix has not."""
    if len(logits.factors) != 2 or not all(isinstance(f, Leaf) for f in logits.factors):
        reason = "logits that are not the product of x with constant rows"
        for factor in logits.factors:
            why = flow.why.get(factor.node) if flow and isinstance(factor, Leaf) else None
            if why:
                reason += f": {why}"
        raise Mismatch(reason)
    outer = [d for dim in tensor.dims for d in dim if isinstance(d, Digit)]
    first, second = logits.factors
    assert isinstance(first, Leaf) and isinstance(second, Leaf)
    for x, matrix in ((first, second), (second, first)):
        single = not _own(x, logits)  # one vector without positions
        if _rows_only(matrix, logits, outer) and (single or not _rows_only(x, logits, outer)):
            return x, matrix
    raise Mismatch("logits that are not the product of x with constant rows")


def _rows_only(leaf: Leaf, logits: Product, outer: list[Digit]) -> bool:
    """Whether a source has no index of its own that the result has too."""
    return not any(overlap(d, o) for d in _own(leaf, logits) for o in outer)


def _own(leaf: Leaf, logits: Product) -> list[Digit]:
    """The variables of a source that are not summed over."""
    return [d for dim in leaf.index for d in dim if isinstance(d, Digit) and not _is_bound((d,), logits)]


def _is_bound(dim: Dim, logits: Product) -> bool:
    return any(isinstance(d, Digit) and overlap(d, b) for d in dim for b in logits.bound)


def _bound_dims(leaf: Leaf, logits: Product) -> tuple[Dim, ...]:
    return tuple(dim for dim in leaf.index if _is_bound(dim, logits))


def flat(dims: tuple[Dim, ...]) -> Dim:
    return merged(tuple(index for dim in dims for index in dim))


def _check_same_x(x: Leaf, other: Leaf, logits: Product, other_logits: Product) -> None:
    if x.node is not other.node:
        raise Mismatch("parents and children look at different vectors")
    for mine, theirs in zip(x.index, other.index, strict=True):
        if _is_bound(mine, logits) != _is_bound(theirs, other_logits):
            raise Mismatch("parents and children look along different axes of x")
        if not _is_bound(mine, logits) and mine != theirs:
            raise Mismatch("parents and children look at different positions")


def _check_order(x: Leaf, x_logits: Product, matrix: Leaf, logits: Product) -> None:
    of_x = flat(_bound_dims(x, x_logits))
    of_matrix = flat(_bound_dims(matrix, logits))
    if of_x != of_matrix or sum(_is_bound((d,), logits) for d in logits.bound) != len(logits.bound):
        raise Mismatch("x and the rows are multiplied in different orders")


def _check_sum(
    tensor: Tensor, formula: Product, wanted: Dim, x: Leaf, logits: Product, hidden: tuple[Dim, ...]
) -> None:
    """Everything that says which cell is summed over, and nothing else."""
    cells = [d for index in wanted for d in ((index,) if isinstance(index, Digit) else index.rank)]
    for digit in cells:
        if isinstance(digit, Digit) and without(digit, formula.bound):
            raise Mismatch("not all cells are summed up")
    for bound in formula.bound:
        if without(bound, cells):
            raise Mismatch("a sum over more than the cells")
    out = sorted(repr(d) for dim in tensor.dims for d in dim)
    positions = tuple(dim for dim in x.index if not _is_bound(dim, logits))
    need = sorted(repr(d) for dim in (*positions, *hidden) for d in dim)
    split_out = sorted(repr(d) for d in flat(tuple((d,) for dim in tensor.dims for d in dim)))
    if out != need and split_out != need:
        raise Mismatch("the result does not have one vector for every position")


def _why_rows(rows: Dim, parent: Chosen, child: Softmax) -> str:
    picks = [i for i in rows if isinstance(i, Pick)]
    own = [i for i in parent.index if isinstance(i, Pick)]
    if picks and own and picks[0].selection != own[0].selection:
        return "the cells are those that another selection chose"
    if bool(picks) != bool(own):
        return "the parents' weights and the cells are not of the same parents"
    over = [i for i in child.over if isinstance(i, Digit)]
    inside = [d for i in parent.index for d in ((i,) if isinstance(i, Digit) else i.rank)]
    if any(isinstance(d, Digit) and overlap(d, o) for d in inside for o in over):
        return "the children's softmax runs over several parents, a wrong axis"
    if sorted(map(repr, rows)) == sorted(map(repr, (*parent.index, *child.over))):
        return "the cells are not stored parent by parent"
    if own and any(isinstance(i, Pick) for i in child.over):
        return "the children's softmax runs over the chosen parents, a wrong axis"
    return "the children's softmax runs over a wrong axis, or the cells are not stored parent by parent"


def _why_values(values: Leaf, wanted: Dim) -> str:
    picks = [i for dim in values.index for i in dim if isinstance(i, Pick)]
    own = [i for i in wanted if isinstance(i, Pick)]
    if own or picks:
        return "keys and values are read at different rows"
    return "keys and values are not in the same order"


def _without_suffix(values: Leaf, wanted: Dim) -> tuple[Dim, ...]:
    return tuple(dim for dim in values.index if _touches(dim, wanted))


def _rest(values: Leaf, wanted: Dim) -> tuple[Dim, ...]:
    return tuple(dim for dim in values.index if not _touches(dim, wanted))


def _touches(dim: Dim, wanted: Dim) -> bool:
    for index in dim:
        for other in wanted:
            if index == other:
                return True
            if isinstance(index, Pick) and isinstance(other, Pick):
                return True
            if isinstance(index, Pick) or isinstance(other, Pick):
                continue
            if overlap(index, other):
                return True
    return any(isinstance(index, Pick) for index in dim)


def _table(leaf: Leaf, hidden: tuple[Dim, ...]) -> Table:
    columns = [at for at, dim in enumerate(leaf.index) if dim in hidden and dim != ()]
    others = [at for at in range(len(leaf.index)) if at not in columns]
    shape = leaf.node.meta["val"].shape
    rows = sympy.Mul(*(sympy.sympify(int(shape[at])) for at in others))
    length = sympy.Mul(*(sympy.sympify(int(shape[at])) for at in columns))
    return Table(leaf.node, (*others, *columns), rows, length)
