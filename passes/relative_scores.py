"""What the scores of attention with relative positions are made of, read from a graph (DeBERTa-v2).

    scores = bmm(q, k.T) * s  +  gather(bmm(q, to_keys.T), -1, c) * s1  +  gather(bmm(k, to_queries.T), -1, p).T * s2

in any order, with scales that multiply or divide an operand or a product; either gather may be missing. q and k are
linears split into heads, the tables are stored.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import Node

from spartanc.passes.program import constant_tensor
from spartanc.passes.rewrite import VIEWS, aten, shape_of, size_key, transposition


class Unfit(Exception):
    """Why a site is left alone, in words for the report."""


@dataclass(frozen=True)
class Heads:
    """A linear [1, L, H] whose result is split into `count` heads: [count, L, d], or transposed."""

    linear: Node
    count: int


@dataclass(frozen=True)
class Said:
    """What one side of attention says of distances: scale * side · table[:, :, index].

    table_hdr: stored, a column for each row that `index` [.., L, L] names.
    """

    table_hdr: Tensor
    index: Node
    scale: float


@dataclass(frozen=True)
class Scores:
    """scale: of q · k alone."""

    query: Heads
    key: Heads
    scale: float
    by_query: Said | None
    by_key: Said | None


@dataclass(frozen=True)
class _Term:
    product: Node
    scale: float
    transposed: bool
    index: Node | None


def read_scores(program: ExportedProgram, scores: Node) -> Scores:
    """The parts of `scores` [heads, L, L]; Unfit where there are others."""
    terms = _terms(program, scores, 1.0, False)
    contents = [term for term in terms if term.index is None]
    if len(contents) != 1 or contents[0].transposed:
        raise Unfit("scores hold more than one product of queries and keys")
    content = contents[0]
    query, q_scale, q_turned = _operand(program, content.product.args[0])
    key, k_scale, k_turned = _operand(program, content.product.args[1])
    if q_turned or not k_turned:
        raise Unfit("queries and keys are not multiplied as attention does")
    split = read_heads(program, query), read_heads(program, key)
    if split[0].count != split[1].count:
        raise Unfit("queries and keys have different heads")
    said: dict[Node, Said] = {}
    for term in terms:
        if term.index is not None:
            source, table = _side(program, term)
            if source not in (query, key) or source in said or term.transposed != (source is key):
                raise Unfit("a gathered product is not one of queries or keys with a table of positions")
            said[source] = table
    if query is key:
        raise Unfit("queries are the keys")
    return Scores(*split, content.scale * q_scale * k_scale, said.get(query), said.get(key))


def read_heads(program: ExportedProgram, heads: Node) -> Heads:
    """The linear that `heads` [count, L, d] splits: view, permute, and view again without the batch."""
    permuted = _before_views(heads)
    if transposition(permuted) != [0, 2, 1, 3]:
        raise Unfit("heads aren't split by a view and a permute")
    view = permuted.args[0]
    linear = _before_views(view)
    if linear.target is not aten.linear.default or len(shape_of(linear)) != 3:
        raise Unfit(f"heads come from `{linear.target}`, not from a linear")
    batch, length, hidden = size_key(shape_of(linear))
    split = size_key(shape_of(view))
    count, size = split[2:]
    if batch != 1 or split != (1, length, count, size) or count * size != hidden:
        raise Unfit("the view does more than to split heads")
    if size_key(shape_of(heads)) != (count, length, size):
        raise Unfit("the batch isn't fixed at 1")
    if any(constant_tensor(program, each) is None for each in linear.args[1:] if each is not None):
        raise Unfit("the weights of a projection are computed, not stored")
    return Heads(linear, count)


def _terms(program: ExportedProgram, node: Node, scale: float, transposed: bool) -> list[_Term]:
    if node.target is aten.add.Tensor and node.kwargs.get("alpha", 1) == 1:
        both = [each for each in node.args if isinstance(each, Node)]
        if len(both) == 2 and all(size_key(shape_of(each)) == size_key(shape_of(node)) for each in both):
            return [term for each in both for term in _terms(program, each, scale, transposed)]
    node, factor, turned = _operand(program, node)
    if factor != 1.0 or turned:
        return _terms(program, node, scale * factor, transposed != turned)
    index = None
    if node.target is aten.gather.default and node.args[1] in (-1, 2):
        index = node.args[2]
        node, factor, turned = _operand(program, node.args[0])
        scale *= factor
        if turned:
            raise Unfit("a product is transposed before rows are gathered")
    if node.target is not aten.bmm.default:
        raise Unfit(f"scores add `{node.target}`, which is no product")
    return [_Term(node, scale, transposed, index)]


def _side(program: ExportedProgram, term: _Term) -> tuple[Node, Said]:
    """What is multiplied with a table of positions, and the table."""
    source, scale, turned = _operand(program, term.product.args[0])
    table, table_scale, table_turned = _operand(program, term.product.args[1])
    stored_hrd = constant_tensor(program, table)
    if turned or stored_hrd is None:
        raise Unfit("what rows are gathered of is computed, not stored")
    table_hdr = stored_hrd.detach().transpose(1, 2) if table_turned else stored_hrd.detach()
    assert term.index is not None
    return source, Said(table_hdr, term.index, term.scale * scale * table_scale)


def _operand(program: ExportedProgram, node: Node) -> tuple[Node, float, bool]:
    """What scales and transpositions of [.., L, d] make `node` of; the scales' product, and whether it is turned."""
    scale, turned = 1.0, False
    while True:
        if node.target in (aten.mul.Tensor, aten.div.Tensor) and isinstance(node.args[0], Node):
            number = _number(program, node.args[1])
            if number is None or number == 0:
                return node, scale, turned
            scale *= number if node.target is aten.mul.Tensor else 1 / number
        elif transposition(node) == [0, 2, 1]:
            turned = not turned
        elif node.target is not aten.repeat.default or node.args[1] != [1, 1, 1]:
            return node, scale, turned
        node = node.args[0]


def _number(program: ExportedProgram, argument: object) -> float | None:
    if isinstance(argument, Node):
        stored = constant_tensor(program, argument)
        return stored.item() if stored is not None and stored.numel() == 1 else None
    return float(argument) if isinstance(argument, int | float) and not isinstance(argument, bool) else None


def _before_views(node: Node) -> Node:
    while node.target in VIEWS or node.target is aten.clone.default:
        node = node.args[0]
    return node
