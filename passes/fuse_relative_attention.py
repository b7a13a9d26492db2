"""Attention with relative positions as one operator of ours (DeBERTa-v2).

before:  q, k, v = linear(x, Wq), linear(x, Wk), linear(x, Wv)                    split into heads [heads, L, d]
         s = bmm(q, k.T) + gather(bmm(q, to_keys.T), c) + gather(bmm(k, to_queries.T), p).T, each with its scale
         y = bmm(softmax(masked_fill(s, ~(m * m.T), lowest), -1), v), permuted and viewed to [1, L, H]
after:   y = spartan::attention.relative(linear(x, Wq * scale), linear(x, [Wk; Wv]), row of m, heads, tables, longest)

c and p name the row for every distance between two positions, proved at every length (`distances`). The tables then
hold those in reach alone, a column each, with their scale in them: 2 N - 1 of them for texts of N tokens.
`fuse_attention` merges the query's product with the others where it is of all positions.
Left alone, with the reason: scores with other parts, tables that are computed, indices of more than the distance, and
other masks. Exact to the order of sums.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind
from torch.fx import Node

from spartanc.passes.distances import Distances
from spartanc.passes.evaluate import token_inputs
from spartanc.passes.mask_row import row_of_mask
from spartanc.passes.ops.relative_attention import distance_table
from spartanc.passes.program import add_constant, constant_tensor, copy_program, finish
from spartanc.passes.properties import Property
from spartanc.passes.protocol import GraphPass, PassReport, Skipped
from spartanc.passes.relative_scores import Heads, Said, Scores, Unfit, read_heads, read_scores
from spartanc.passes.rewrite import VIEWS, aten, call, shape_of, size_key, transposition

_LOWEST = torch.finfo(torch.float32).min


@dataclass(frozen=True)
class _Site:
    """tables: of queries and of keys, [H, S]; reach: N of theirs."""

    scores: Scores
    value: Heads
    mask: Node
    tables: tuple[Tensor | None, Tensor | None]
    reach: int
    result: Node


class FuseRelativeAttention(GraphPass):
    name = "fuse_relative_attention"
    requires = frozenset({Property.NO_NOOPS, Property.CONSTANTS_FOLDED})
    provides = frozenset({Property.RELATIVE_ATTENTION_FUSED})
    tolerance = 1e-5

    def run(self, program: ExportedProgram) -> tuple[ExportedProgram, PassReport]:
        program, report = copy_program(program), PassReport(self.name)
        distances = Distances(program)
        sites = []
        for node in [node for node in program.graph.nodes if _is_attention(node)]:
            try:
                sites.append(_site(program, node, distances))
            except Unfit as unfit:
                report.skipped.append(Skipped(node.name, str(unfit)))
        if sites:
            first = next(node for node in program.graph.nodes if node.op == "call_function")
            masks = dict.fromkeys(site.mask for site in sites)
            rows = {mask: row_of_mask(program, first, mask, 0.0, _LOWEST) for mask in masks}
            for site in sites:
                _replace(program, site, rows[site.mask])
        report.changes = len(sites)
        report.notes = {"distances": max((2 * site.reach - 1 for site in sites), default=0)}
        return finish(program), report

    def holds(self, program: ExportedProgram) -> str | None:
        distances = Distances(program)
        for node in program.graph.nodes:
            if _is_attention(node):
                try:
                    _site(program, node, distances)
                except Unfit:
                    continue
                return f"`{node.name}` is attention with relative positions that is not fused"
        return None


def _is_attention(node: Node) -> bool:
    """A product whose first factor is a view of a softmax: scores took their batch back for their mask."""
    if node.target is not aten.bmm.default or node.args[0].target not in VIEWS:
        return False
    return node.args[0].args[0].target is aten.softmax.int


def _site(program: ExportedProgram, product: Node, distances: Distances) -> _Site:
    weights = product.args[0].args[0]
    if weights.args[1] % 4 != 3 or len(shape_of(weights)) != 4:
        raise Unfit("the softmax isn't over the keys")
    filled = weights.args[0]
    if filled.target is not aten.masked_fill.Scalar or filled.args[2] != _LOWEST:
        raise Unfit(f"scores are masked by `{filled.target}`, not by the lowest number")
    mask = _square_of(program, filled.args[1])
    scores = read_scores(program, _without_batch(filled.args[0]))
    value = read_heads(program, product.args[1])
    if value.count != scores.query.count or scores.key.linear.args[0] is not value.linear.args[0]:
        raise Unfit("keys and values aren't made of one input")
    if scores.query.linear.args[0] is not value.linear.args[0]:
        raise Unfit("queries are made of another input than keys")  # of as many positions, says the operator
    result = _joined(product)
    found = token_inputs(program)
    assert found is not None, "a mask was found"
    tables = _table(scores.by_query, scores.scale, distances), _table(scores.by_key, 1.0, distances)
    return _Site(scores, value, mask, tables, found[1], result)


def _square_of(program: ExportedProgram, hidden: Node) -> Node:
    """The attention mask m, where `hidden` is ~(m * m.T) [1, 1, L, L]."""
    found = token_inputs(program)
    if found is None or len(found[0]) != 2:
        raise Unfit("inputs are no ids and mask of one dynamic length")
    mask, kept = found[0][1], hidden.args[0] if hidden.args else None
    if hidden.target not in (aten.bitwise_not.default, aten.logical_not.default) or not isinstance(kept, Node):
        raise Unfit("the mask isn't a square of the attention mask")
    if kept.target is aten._to_copy.default and kept.meta["val"].dtype is torch.bool:
        kept = kept.args[0]
    length = size_key(shape_of(mask))[1]
    sides = [_unshaped(side) for side in kept.args] if kept.target is aten.mul.Tensor else []
    shapes = {size_key(shape_of(side)) for side in kept.args} if sides else set()
    if sides != [mask, mask] or shapes != {(1, 1, 1, length), (1, 1, length, 1)}:
        raise Unfit("the mask isn't a square of the attention mask")
    return mask


def _unshaped(node: object) -> object:
    """What is reshaped; of one dimension that is not 1, a transposition is that too."""
    while isinstance(node, Node) and (
        node.target in (aten.unsqueeze.default, aten.squeeze.dim, *VIEWS) or transposition(node) is not None
    ):
        node = node.args[0]
    return node


def _without_batch(node: Node) -> Node:
    """Scores [heads, L, L] behind their view as [1, heads, L, L]."""
    source = node.args[0]
    if node.target not in VIEWS or size_key(shape_of(node)) != (1, *size_key(shape_of(source))):
        raise Unfit("the batch isn't fixed at 1")
    return source


def _joined(product: Node) -> Node:
    """The view that puts the heads of `product` side by side again."""
    steps: list[Node] = []
    node = product
    while len(steps) < 3:
        if len(node.users) != 1:
            raise Unfit("a step of it is read by something else too")
        node = next(iter(node.users))
        if node.target is not aten.clone.default:
            steps.append(node)
    apart, turned, whole = steps
    heads, length, size = size_key(shape_of(product))
    if (
        apart.target not in VIEWS
        or transposition(turned) != [0, 2, 1, 3]
        or whole.target not in VIEWS
        or size_key(shape_of(apart)) != (1, heads, length, size)
        or size_key(shape_of(whole)) != (1, length, heads * size)
    ):
        raise Unfit("heads aren't put side by side again")
    return whole


def _table(said: Said | None, scale: float, distances: Distances) -> Tensor | None:
    """[H, S]: what `said` reads at the distance other - own, in the order that the operator takes.

    scale: of the side already, by its weights.
    """
    if said is None:
        return None
    rows = distances.rows(said.index)
    if rows is None:
        raise Unfit("which rows are gathered depends on more than the distance")
    # The index counts own - other, the operator's table of both sides other - own.
    chosen_hdn = said.table_hdr[:, :, rows.flip(0)] * (said.scale / scale)
    return distance_table(chosen_hdn.flatten(0, 1).T)


def _replace(program: ExportedProgram, site: _Site, mask: Node) -> None:
    graph, scores = program.graph, site.scores
    name = site.result.name
    query = [_stored(program, scores.query.linear, index) for index in (1, 2)]
    both = [[_stored(program, each.linear, index) for each in (scores.key, site.value)] for index in (1, 2)]
    tables = [
        None if table is None else _add(program, f"{name}_{side}", table)
        for side, table in zip(("to_keys", "to_queries"), site.tables, strict=True)
    ]
    constants = {
        "query_weight": query[0] * scores.scale,
        "query_bias": query[1] * scores.scale,
        "merged_weight": torch.cat(both[0]),
        "merged_bias": torch.cat(both[1]),
    }
    made = {what: _add(program, f"{name}_{what}", tensor) for what, tensor in constants.items()}
    x = scores.query.linear.args[0]
    with graph.inserting_before(site.result):
        own = call(graph, aten.linear.default, (x, made["query_weight"], made["query_bias"]))
        packed = call(graph, aten.linear.default, (x, made["merged_weight"], made["merged_bias"]))
        arguments = (own, packed, mask, scores.query.count, *tables, site.reach)
        fused = call(graph, torch.ops.spartan.attention.relative, arguments)
    site.result.replace_all_uses_with(fused)


def _stored(program: ExportedProgram, linear: Node, index: int) -> Tensor:
    """Its weight (1) or bias (2); zeros for a bias that it lacks."""
    if len(linear.args) <= index or linear.args[index] is None:
        return torch.zeros(shape_of(linear)[-1])
    tensor = constant_tensor(program, linear.args[index])
    assert tensor is not None
    return tensor.detach()


def _add(program: ExportedProgram, name: str, tensor: Tensor) -> Node:
    return add_constant(program, name, tensor, InputKind.CONSTANT_TENSOR)
