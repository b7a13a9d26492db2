"""The additive mask of attention in two operators, for a row of scores instead of a square of them.

before:  m = ..(attention_mask)                                       [1, 1, L, L], in some twenty operators
after:   m = where(view(attention_mask, [1, 1, L]).bool(), a, b)      [1, 1, L], the same for every query

What the mask's arithmetic computes is proved from its operators, for every length that the program takes and every
attention mask (`mask_values`): `a` in the columns that it keeps and `b` in the others, whatever the row. So a sliding
window is a mask of columns only if the longest text fits into it; `fuse_attention` reads others. Padded inputs stay
right; a sentence without padding pays for L numbers in place of L x L.
Left alone, with the reason: a mask that depends on more than attention_mask, or on the query's position. Bit-exact.
"""

from __future__ import annotations

import torch
from torch.export import ExportedProgram
from torch.fx import Node

from spartanc.passes.evaluate import Dependencies, token_inputs
from spartanc.passes.mask_row import row_of_mask
from spartanc.passes.mask_values import kept_and_masked
from spartanc.passes.program import copy_program, finish
from spartanc.passes.properties import Property
from spartanc.passes.protocol import GraphPass, PassReport, Skipped
from spartanc.passes.rewrite import shape_of, size_key


class SimplifyAttentionMask(GraphPass):
    name = "simplify_attention_mask"
    provides = frozenset({Property.MASK_OF_COLUMNS})
    tolerance = 0.0

    def run(self, program: ExportedProgram) -> tuple[ExportedProgram, PassReport]:
        program, report = copy_program(program), PassReport(self.name)
        before = len(program.graph.nodes)
        for node, mask in _masks(program):
            values = kept_and_masked(program, node, mask)
            if values is None:
                report.skipped.append(Skipped(node.name, "it isn't proved to be a function of the columns' mask alone"))
                continue
            node.replace_all_uses_with(row_of_mask(program, node, mask, *values, rank=len(shape_of(node))))
            report.changes += 1
        program = finish(program)
        report.notes = {"operators dropped": before - len(program.graph.nodes)}
        return program, report

    def holds(self, program: ExportedProgram) -> str | None:
        for node, mask in _masks(program):
            if kept_and_masked(program, node, mask) is not None:
                return f"`{node.name}` is a square where a row would do"
        return None


def _masks(program: ExportedProgram) -> list[tuple[Node, Node]]:
    """Squares of floats [1, .., L, L] made of the attention mask alone, where something else reads them.

    Of the program's inputs, ids and attention mask, only the second is known to hold noughts and ones.
    """
    found = token_inputs(program)
    if found is None or len(found[0]) != 2:
        return []
    mask = found[0][1]
    length = size_key(shape_of(mask))[1]
    depends, masks = Dependencies(program), []
    for node in program.graph.nodes:
        value = node.meta.get("val")
        if node.op != "call_function" or not isinstance(value, torch.Tensor) or not value.is_floating_point():
            continue
        own = depends.of(node)
        if own != {mask} or all(depends.of(user) == own for user in node.users if user.op != "output"):
            continue
        shape = size_key(shape_of(node))
        if len(shape) > 2 and set(shape[:-2]) == {1} and shape[-2:] == (length, length):
            masks.append((node, mask))
    return masks
