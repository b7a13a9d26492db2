"""The additive mask of attention in two operators, for a row of scores instead of a square of them.

before:  m = ..(attention_mask)                                       [1, 1, L, L], in some twenty operators
after:   m = where(view(attention_mask, [1, 1, L]).bool(), a, b)      [1, 1, L], the same for every query

What the mask's arithmetic computes is found by running it: on every mask of up to five positions it must give `a` in
the columns that the mask keeps and `b` in the others, whatever the row. Padded inputs stay right; a sentence without
padding pays for L numbers in place of L x L.
Left alone, with the reason: a mask that depends on more than attention_mask, or on the query's position. Bit-exact.
"""

from __future__ import annotations

from itertools import product

import torch
from torch.export import ExportedProgram
from torch.fx import Node

from spartanc.passes.evaluate import Dependencies, evaluate, token_inputs
from spartanc.passes.program import copy_program, finish
from spartanc.passes.properties import Property
from spartanc.passes.protocol import GraphPass, PassReport, Skipped
from spartanc.passes.rewrite import aten, call, shape_of, size_key

LONGEST_TRIED = 5


class SimplifyAttentionMask(GraphPass):
    name = "simplify_attention_mask"
    provides = frozenset({Property.MASK_OF_COLUMNS})
    tolerance = 0.0

    def run(self, program: ExportedProgram) -> tuple[ExportedProgram, PassReport]:
        program, report = copy_program(program), PassReport(self.name)
        before = len(program.graph.nodes)
        found = token_inputs(program)
        inputs = found[0] if found is not None else []
        for node, mask in _masks(program):
            values = _kept_and_masked(program, node, mask, inputs)
            if values is None:
                report.skipped.append(Skipped(node.name, "it is no function of the columns' mask alone"))
                continue
            _replace(program, node, mask, *values)
            report.changes += 1
        program = finish(program)
        report.notes = {"operators dropped": before - len(program.graph.nodes)}
        return program, report

    def holds(self, program: ExportedProgram) -> str | None:
        found = token_inputs(program)
        inputs = found[0] if found is not None else []
        for node, mask in _masks(program):
            if _kept_and_masked(program, node, mask, inputs) is not None:
                return f"`{node.name}` is a square where a row would do"
        return None


def _masks(program: ExportedProgram) -> list[tuple[Node, Node]]:
    """Squares of floats [1, .., L, L] that come from one input alone, where something else reads them."""
    found = token_inputs(program)
    if found is None:
        return []
    depends = Dependencies(program)
    masks = []
    for node in program.graph.nodes:
        value = node.meta.get("val")
        if node.op != "call_function" or not isinstance(value, torch.Tensor) or not value.is_floating_point():
            continue
        own = depends.of(node)
        if len(own) != 1 or all(depends.of(user) == own for user in node.users if user.op != "output"):
            continue
        (mask,) = own
        shape = size_key(shape_of(node))
        length = size_key(shape_of(mask))[1]
        if mask in found[0] and len(shape) > 2 and set(shape[:-2]) == {1} and shape[-2:] == (length, length):
            masks.append((node, mask))
    return masks


def _kept_and_masked(
    program: ExportedProgram, node: Node, mask: Node, inputs: list[Node]
) -> tuple[float, float] | None:
    """What stands in columns that are kept and in those that are masked, where nothing else matters."""
    seen: dict[int, set[float]] = {0: set(), 1: set()}
    for length in range(1, LONGEST_TRIED + 1):
        for bits in product((0, 1), repeat=length):
            given = dict.fromkeys(inputs, torch.zeros(1, length, dtype=torch.int64))
            given[mask] = torch.tensor([bits])
            square = evaluate(program, node, given).reshape(length, length)
            for column, bit in enumerate(bits):
                seen[bit].update(square[:, column].tolist())
    if len(seen[0]) != 1 or len(seen[1]) != 1:
        return None
    return seen[1].pop(), seen[0].pop()


def _replace(program: ExportedProgram, node: Node, mask: Node, kept: float, masked: float) -> None:
    graph = program.graph
    ones = [1] * (len(shape_of(node)) - 1)
    with graph.inserting_before(node):
        flags = call(graph, aten._to_copy.default, (mask,), {"dtype": torch.bool})
        row = call(graph, aten.view.default, (flags, [*ones, -1]))
        value = call(graph, aten.full.default, ([], kept), {"dtype": torch.float32})
        made = call(graph, aten.where.ScalarOther, (row, value, masked))
    node.replace_all_uses_with(made)
