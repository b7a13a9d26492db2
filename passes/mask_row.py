"""The additive mask of a row of scores, where attention asks for no more: one number for each column."""

from __future__ import annotations

import torch
from torch.export import ExportedProgram
from torch.fx import Node

from spartanc.passes.rewrite import aten, call


def row_of_mask(program: ExportedProgram, before: Node, mask: Node, kept: float, masked: float, rank: int = 3) -> Node:
    """float [1, .., L] of `rank` dimensions: `kept` where `mask` [1, L] is 1, else `masked`; made before `before`."""
    graph = program.graph
    with graph.inserting_before(before):
        flags = call(graph, aten._to_copy.default, (mask,), {"dtype": torch.bool})
        row = call(graph, aten.view.default, (flags, [*[1] * (rank - 1), -1]))
        value = call(graph, aten.full.default, ([], kept), {"dtype": torch.float32})
        return call(graph, aten.where.ScalarOther, (row, value, masked))
