"""Rotary positions by tables that are stored, before heads are put first, in operators that XNNPACK has.

before:  c = cos(.. arange(L) ..)                                  [1, L, d], for every text anew; s likewise
         t = transpose(x, 1, 2)                                    x [1, L, heads, d]
         t * unsqueeze(c, 1) + cat([-t[.., d/2:], t[.., :d/2]]) * unsqueeze(s, 1)
after:   transpose(x * c' + matmul(x, turn) * s', 1, 2)       c' = view(slice(cos [1, max, d], 1, 0, L), [1, L, 1, d])

The tables are computed for every length; those of a shorter text must be the beginning of those of the longest. The
product by `turn`, of noughts and ones, is exact and takes d multiplications a number: slices of a head are copies that
XNNPACK leaves outside, eight for a layer.
Left alone, with the reason: tables that depend on the text, or otherwise on its length. Bit-exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind
from torch.fx import Node

from spartanc.passes.evaluate import Dependencies, evaluate, token_inputs
from spartanc.passes.program import PLAIN, add_constant, copy_program, finish
from spartanc.passes.protocol import GraphPass, PassReport, Skipped
from spartanc.passes.rewrite import aten, call, shape_of, transposition
from spartanc.passes.rotation import turning


@dataclass(frozen=True)
class _Site:
    """heads: transpose(x, 1, 2); cos, sin: [1, 1, L, d]; result: the heads rotated."""

    heads: Node
    cos: Node
    sin: Node
    result: Node


class FoldRotaryPositions(GraphPass):
    name = "fold_rotary_positions"
    tolerance = 0.0

    def run(self, program: ExportedProgram) -> tuple[ExportedProgram, PassReport]:
        program, report = copy_program(program), PassReport(self.name)
        found, depends = token_inputs(program), Dependencies(program)
        sites = [site for node in program.graph.nodes if (site := _site(node)) is not None]
        tables: dict[Node, Node | None] = {}
        turn: dict[int, Node] = {}
        for site in sites:
            for each in (site.cos, site.sin):
                if each not in tables:
                    rows = None if found is None or depends.of(each) else _rows(program, each, *found)
                    tables[each] = None if rows is None or found is None else _stored(program, each, rows, found[0][0])
            cos, sin = tables[site.cos], tables[site.sin]
            if cos is None or sin is None:
                report.skipped.append(Skipped(site.result.name, "its angles are no beginning of one table"))
                continue
            size = shape_of(site.heads)[-1]
            if size not in turn:
                # A buffer: XNNPACK multiplies by no other kind of constant.
                turn[size] = add_constant(program, f"{PLAIN}turn_{size}", turning(size))
            _rotate(program, site, cos, sin, turn[size])
            report.changes += 1
        report.notes = {"tables": sum(each is not None for each in tables.values())}
        return finish(program), report


def _site(node: Node) -> _Site | None:
    if node.target is not aten.add.Tensor or not all(_is_product(each) for each in node.args):
        return None
    (heads, cos), (turned, sin) = (each.args for each in node.args)
    if transposition(heads) != [0, 2, 1, 3] or turned.target is not aten.cat.default or len(turned.args[0]) != 2:
        return None
    size, (second, first) = shape_of(heads)[-1], turned.args[0]
    if not isinstance(size, int) or size % 2 or turned.args[1:] not in ((-1,), (3,)):
        return None
    if second.target is not aten.neg.default:
        return None
    halves = (first, 0, size // 2), (second.args[0], size // 2, size)
    if not all(_is_slice(part, heads, start, end, size) for part, start, end in halves):
        return None
    return _Site(heads, cos, sin, node) if all(_is_table(each, size) for each in (cos, sin)) else None


def _is_product(node: object) -> bool:
    return isinstance(node, Node) and node.target is aten.mul.Tensor and all(isinstance(a, Node) for a in node.args)


def _is_slice(node: Node, of: Node, start: int, end: int, size: int) -> bool:
    if node.target is not aten.slice.Tensor or node.args[0] is not of or node.args[1] % 4 != 3 or len(node.args) > 4:
        return False
    return node.args[2] == start and min(node.args[3], size) == end


def _is_table(node: Node, size: int) -> bool:
    shape = shape_of(node)
    return len(shape) == 4 and list(shape[:2]) == [1, 1] and isinstance(shape[3], int) and shape[3] == size


def _rows(program: ExportedProgram, node: Node, inputs: list[Node], longest: int) -> Tensor | None:
    """[1, 1, longest, d], of which shorter texts have the beginning; None if one of them hasn't."""

    def rows(length: int) -> Tensor:
        return evaluate(program, node, dict.fromkeys(inputs, torch.zeros(1, length, dtype=torch.int64)))

    whole = rows(longest)
    if all(torch.equal(rows(length), whole[:, :, :length]) for length in range(1, longest)):
        return whole
    return None


def _stored(program: ExportedProgram, node: Node, rows: Tensor, ids: Node) -> Node:
    """The table's rows for a text [1, L, 1, d], behind its length."""
    made = add_constant(program, f"{node.name}_table", rows.squeeze(0), InputKind.CONSTANT_TENSOR)
    with program.graph.inserting_before(node):
        length = call(program.graph, aten.sym_size.int, (ids, 1))
        found = call(program.graph, aten.slice.Tensor, (made, 1, 0, length))
        return call(program.graph, aten.view.default, (found, [1, -1, 1, shape_of(node)[-1]]))


def _rotate(program: ExportedProgram, site: _Site, cos: Node, sin: Node, turn: Node) -> None:
    graph, x = program.graph, site.heads.args[0]
    with graph.inserting_before(site.result):
        plain = call(graph, aten.mul.Tensor, (x, cos))
        turned = call(graph, aten.mul.Tensor, (call(graph, aten.matmul.default, (x, turn)), sin))
        rotated = call(graph, aten.add.Tensor, (plain, turned))
        made = call(graph, aten.transpose.int, (rotated, 1, 2))
    for reader in list(site.result.users):
        order = transposition(reader)
        if order is not None:  # keys are put the other way round: one permutation does both
            with graph.inserting_before(reader):
                both = call(graph, aten.permute.default, (rotated, [(0, 2, 1, 3)[dim] for dim in order]))
            reader.replace_all_uses_with(both)
    site.result.replace_all_uses_with(made)
