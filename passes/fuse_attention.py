"""Attention as one operator of ours over one merged product.

before:  q, k, v = linear(x, Wq), linear(x, Wk), linear(x, Wv)                     three products
         each split into heads by view and permute                                 [heads, L, d]
         y = bmm(softmax(bmm(q, k) + mask, -1), v), permuted and viewed to [1, L, H]
after:   y = spartan::attention(None, linear(x, [Wq; Wk; Wv]), mask, heads)        int8 quantises x once

after the last layer, whose queries are those of one position:
         y = spartan::attention(linear(x[:, :1], Wq), linear(x, [Wk; Wv]), mask, heads)

where they are made of different inputs (MobileBERT's values), those of one input stand in one product:
         y = spartan::attention(None, cat(linear(x, [Wq; Wk]), linear(z, Wv)), mask, heads)

where queries and keys are rotated by their positions (`rotation`), products stay apart:
         y = spartan::attention(None, cat(rotated linear(x, Wq), rotated linear(x, Wk), linear(x, Wv)), mask, heads)

in an encoder that applies one layer several times (ALBERT), that form for every application: they read the weights that
the last one reads, so that a program holds them once.

where scores add the mask of a sliding window (`windows`), as if that of its columns were added:
         y = spartan::window_attention(None, .., row of the mask, heads, reach)

`spartan::attention.relative`, which `fuse_relative_attention` makes with queries apart, takes the first form too where
its queries are of all positions.

Left alone, with the reason: scores with more than such a mask added (relative positions), projections that something
else reads, or whose weights are computed. Exact to the order of sums.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import groupby

import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind
from torch.fx import Node

from spartanc.passes.evaluate import token_inputs
from spartanc.passes.mask_row import row_of_mask
from spartanc.passes.program import add_constant, constant_tensor, copy_program, finish
from spartanc.passes.properties import Property
from spartanc.passes.protocol import GraphPass, PassReport, Skipped
from spartanc.passes.rewrite import VIEWS, aten, call, inferable, shape_of, size_key, transposition
from spartanc.passes.rotation import Rotation, rotation
from spartanc.passes.windows import Window, read_window

_NEVER = -1e30  # so little added to a score gives it no weight beside any other


@dataclass(frozen=True)
class _Site:
    """query, key, value: linears; queries, keys: what rotates theirs [1, L, heads, d], None if nothing does.

    mask: of columns, [1, 1, L]; that of a window is [1, L, L] until a row takes its place.
    """

    query: Node
    key: Node
    value: Node
    queries: Node | None
    keys: Node | None
    mask: Node | None
    window: Window | None
    heads: int
    result: Node

    @property
    def of_one_input(self) -> bool:
        """Whether queries are made of what keys are made of, and are as many."""
        return self.query.args[0] is self.key.args[0]


class _Unfit(Exception):
    """Why a site is left alone, in words for the report."""


class FuseAttention(GraphPass):
    name = "fuse_attention"
    requires = frozenset(
        {Property.ATTENTION_IN_THREE_DIMENSIONS, Property.ATTENTION_SCALE_FOLDED, Property.MASK_OF_COLUMNS}
    )
    provides = frozenset({Property.ATTENTION_FUSED})
    tolerance = 1e-5

    def run(self, program: ExportedProgram) -> tuple[ExportedProgram, PassReport]:
        program, report = copy_program(program), PassReport(self.name)
        sites = []
        for node in [node for node in program.graph.nodes if _is_attention(node)]:
            try:
                sites.append(_site(program, node))
            except _Unfit as unfit:
                report.skipped.append(Skipped(node.name, str(unfit)))
        apart = {site.key.args[1] for site in sites if not site.of_one_input}
        sites = _with_rows_of_masks(program, sites)
        merged = sum(_replace(program, site, site.of_one_input and site.key.args[1] not in apart) for site in sites)
        relative = [node for node in program.graph.nodes if _has_query_apart(node)]
        merged += sum(_merge_query(program, node) for node in relative)
        report.changes = len(sites) + len(relative)
        report.notes = {"products merged": merged}
        return finish(program), report

    def holds(self, program: ExportedProgram) -> str | None:
        for node in program.graph.nodes:
            if _is_attention(node):
                try:
                    _site(program, node)
                except _Unfit:
                    continue
                return f"`{node.name}` is attention that is not fused"
            if _has_query_apart(node):
                return f"`{node.name}` has a product of its own for queries of all positions"
        return None


def _is_attention(node: Node) -> bool:
    """A product whose first factor is a softmax."""
    return node.target is aten.bmm.default and node.args[0].target is aten.softmax.int


def _site(program: ExportedProgram, product: Node) -> _Site:
    weights, value_heads = product.args
    _only_reader(weights)
    if weights.args[1] % 3 != 2:
        raise _Unfit("the softmax isn't over the keys")
    scores, mask = _without_mask(weights.args[0])
    _only_reader(scores)
    if scores.target is not aten.bmm.default:
        raise _Unfit(f"scores come from `{scores.target}`, not from a product")
    query, queries, heads = _projection(program, scores.args[0], [1, 0, 2])
    key, keys, key_heads = _projection(program, scores.args[1], [1, 2, 0])
    value, values, value_count = _projection(program, value_heads, [1, 0, 2])
    if values is not None or (queries is None) != (keys is None):
        raise _Unfit("not queries and keys alone are rotated")
    if not heads == key_heads == value_count:
        raise _Unfit("queries, keys and values aren't of as many heads")
    window = None if mask is None else _window(program, mask, query)
    if mask is not None and window is None and size_key(shape_of(mask)) != (1, 1, size_key(shape_of(key))[1]):
        raise _Unfit("what is added to the scores is neither a mask of columns nor a window")
    return _Site(query, key, value, queries, keys, mask, window, heads, _joined(product))


def _window(program: ExportedProgram, mask: Node, query: Node) -> Window | None:
    """The window that `mask` is, or whose first rows it is: one for each row of `query`."""
    found = token_inputs(program)
    if found is None or len(found[0]) != 2 or size_key(shape_of(mask))[-2] != size_key(shape_of(query))[1]:
        return None
    is_cut = mask.target is aten.slice.Tensor and mask.args[1:3] in ((1, 0), (1, None)) and mask.args[4:] in ((), (1,))
    window = read_window(program, mask.args[0] if is_cut else mask, found[0][1])
    if window is not None and window.masked > _NEVER:
        raise _Unfit(f"what is beyond the window is still looked at: {window.masked} is added to its scores")
    return window


def _without_mask(scores: Node) -> tuple[Node, Node | None]:
    if scores.target is not aten.add.Tensor:
        return scores, None
    _only_reader(scores)
    if scores.kwargs.get("alpha", 1) != 1 or not all(isinstance(each, Node) for each in scores.args):
        raise _Unfit("scores are changed by more than a mask")
    for product, mask in (scores.args, scores.args[::-1]):
        if product.target is aten.bmm.default:
            return product, mask
    raise _Unfit("more than a mask is added to the scores")


def _projection(program: ExportedProgram, heads: Node, order: list[int]) -> tuple[Node, Node | None, int]:
    """The linear [1, L, H] behind `heads`, which are its result split and permuted by `order`; and their number.

    Between them, what rotates it, if anything does.
    """
    if transposition(heads) != order:
        raise _Unfit("heads aren't split by a view and a permute")
    view, rotated = heads.args[0], None
    turned = rotation(view.args[0] if view.target in VIEWS else view)
    if turned is not None:
        rotated = view.args[0] if view.target in VIEWS else view
        _only_reader(heads)
        if rotated is not view:
            _only_reader(view)
        _only_reader(rotated)
        return _rotated_projection(program, rotated, turned)
    # One head of one position is [1, 1, H] without a view.
    linear = view.args[0] if view.target in VIEWS or size_key(shape_of(view))[:2] != (1, 1) else view
    if linear is not view and view.target not in VIEWS:
        raise _Unfit("heads aren't split by a view and a permute")
    for each in dict.fromkeys((heads, view, linear)):
        _only_reader(each)
    if linear.target is not aten.linear.default or len(shape_of(linear)) != 3:
        raise _Unfit(f"heads come from `{linear.target}`, not from a linear")
    shape, split = size_key(shape_of(linear)), size_key(shape_of(view))
    if shape[0] != 1 or len(split) != 3 or split[0] != shape[1] or split[1] * split[2] != shape[2]:
        raise _Unfit("the view does more than to split heads")
    if any(constant_tensor(program, each) is None for each in linear.args[1:] if each is not None):
        raise _Unfit("the weights of a projection are computed, not stored")
    return linear, None, split[1]


def _rotated_projection(program: ExportedProgram, rotated: Node, turned: Rotation) -> tuple[Node, Node, int]:
    view, shape = turned.x, size_key(shape_of(turned.x))
    if len(view.users) != 2 or view.target not in VIEWS or len(shape) != 4:
        raise _Unfit("what is rotated isn't a projection split by a view")
    linear = view.args[0]
    _only_reader(linear)
    if linear.target is not aten.linear.default or size_key(shape_of(linear))[:2] != shape[:2]:
        raise _Unfit(f"heads come from `{linear.target}`, not from a linear")
    return linear, rotated, shape[2]


def _joined(product: Node) -> Node:
    """The view that puts the heads of `product` side by side again."""
    _only_reader(product)
    permuted = next(iter(product.users))
    if transposition(permuted) != [1, 0, 2]:
        raise _Unfit("heads aren't put side by side again")
    if size_key(shape_of(permuted))[:2] == (1, 1) and next(iter(permuted.users)).target not in VIEWS:
        return permuted  # one head of one position is [1, 1, H] without a view
    _only_reader(permuted)
    last = next(iter(permuted.users))
    if last.target is aten.clone.default:
        _only_reader(last)
        last = next(iter(last.users))
    shape = shape_of(last)
    heads, _, size = shape_of(product)
    if last.target not in VIEWS or len(shape) != 3 or shape[0] != 1 or shape[2] != heads * size:
        raise _Unfit("heads aren't put side by side again")
    return last


def _only_reader(node: Node) -> None:
    if len(node.users) != 1:
        raise _Unfit("a step of it is read by something else too")


def _replace(program: ExportedProgram, site: _Site, with_query: bool) -> int:
    """One operator in the site's place; the number of products that were merged into one.

    with_query: whether the query's is among them. Rotated queries and keys come as they are, side by side with values.
    """
    if site.keys is not None:
        return _replace_rotated(program, site, with_query)
    linears = [site.query, site.key, site.value] if with_query else [site.key, site.value]
    graph, groups = program.graph, _of_one_input(linears)
    with graph.inserting_before(site.result):
        parts = [_merged(program, each) if len(each) > 1 else each[0] for each in groups]
        packed = call(graph, aten.cat.default, (parts, -1)) if len(parts) > 1 else parts[0]
        fused = _attention(program, site, None if with_query else site.query, packed)
    site.result.replace_all_uses_with(fused)
    return sum(len(each) for each in groups if len(each) > 1)


def _with_rows_of_masks(program: ExportedProgram, sites: list[_Site]) -> list[_Site]:
    """The same, windows with the mask of columns that holds within them: one for all that add the same numbers."""
    found = token_inputs(program)
    first = next((node for node in program.graph.nodes if node.op == "call_function"), None)
    rows: dict[tuple[float, float], Node] = {}

    def with_row(site: _Site) -> _Site:
        if site.window is None:
            return site
        assert found is not None
        assert first is not None
        values = site.window.kept, site.window.masked
        if values not in rows:
            rows[values] = row_of_mask(program, first, found[0][1], *values)
        return replace(site, mask=rows[values])

    return [with_row(site) for site in sites]


def _attention(program: ExportedProgram, site: _Site, query: Node | None, packed: Node) -> Node:
    arguments = (query, packed, site.mask, site.heads)
    if site.window is None:
        return call(program.graph, torch.ops.spartan.attention.default, arguments)
    return call(program.graph, torch.ops.spartan.window_attention.default, (*arguments, site.window.reach))


def _of_one_input(linears: list[Node]) -> list[list[Node]]:
    """The same, in order: those that stand side by side and read one input together."""
    return [list(group) for _, group in groupby(linears, key=lambda linear: linear.args[0])]


def _merged(program: ExportedProgram, linears: list[Node]) -> Node:
    """Their results side by side, as one product."""
    weight, bias = (_stacked(program, linears, index, what) for index, what in ((1, "weight"), (2, "bias")))
    return call(program.graph, aten.linear.default, (linears[0].args[0], weight, bias))


def _has_query_apart(node: Node) -> bool:
    """Whether it is attention with relative positions, all linears of which read one input."""
    if node.target is not torch.ops.spartan.attention.relative or node.args[0] is None:
        return False
    query, packed = node.args[:2]
    linears = all(each.target is aten.linear.default and len(each.users) == 1 for each in (query, packed))
    return linears and query.args[0] is packed.args[0]


def _merge_query(program: ExportedProgram, node: Node) -> int:
    """Three products in one, in place; the number of them."""
    with program.graph.inserting_before(node):
        packed = _merged(program, list(node.args[:2]))
    node.args = (None, packed, *node.args[2:])
    return 3


def _replace_rotated(program: ExportedProgram, site: _Site, with_query: bool) -> int:
    assert site.keys is not None and site.queries is not None
    graph = program.graph

    def whole(rotated: Node, linear: Node) -> Node:
        shape = inferable(shape_of(linear))
        assert shape is not None
        return call(graph, aten.view.default, (rotated, shape))

    with graph.inserting_before(site.result):
        query, keys = whole(site.queries, site.query), whole(site.keys, site.key)
        parts = [query, keys, site.value] if with_query else [keys, site.value]
        packed = call(graph, aten.cat.default, (parts, -1))
        fused = _attention(program, site, None if with_query else query, packed)
    site.result.replace_all_uses_with(fused)
    return 0


def _stacked(program: ExportedProgram, linears: list[Node], index: int, what: str) -> Node | None:
    """Weights or biases one below the other; a linear without a bias adds zeros."""
    parts = [each.args[index] if len(each.args) > index else None for each in linears]
    if all(part is None for part in parts):
        return None
    rows = []
    for linear, part in zip(linears, parts, strict=True):
        tensor = constant_tensor(program, part) if part is not None else torch.zeros(shape_of(linear)[-1])
        assert tensor is not None
        rows.append(tensor.detach())
    return add_constant(program, f"{linears[0].name}_merged_{what}", torch.cat(rows), InputKind.CONSTANT_TENSOR)
