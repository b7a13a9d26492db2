"""Rows that are gathered by the distance of two positions are read from a stored square.

before:  gather(x, -1, index)       index [heads, L, L]: DeBERTa's buckets, by logarithms of the distance
after:   gather(x, -1, expand(square[:L, :L]))

It is more than speed: at the edge of a bucket a logarithm's last bit decides which row is read, and another library
rounds it otherwise. The index is proved at every length (`distances`).
Left alone, with the reason: indices of more than the distance. Bit-exact.
"""

from __future__ import annotations

import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind
from torch.fx import Node

from spartanc.passes.distances import Distances
from spartanc.passes.evaluate import token_inputs
from spartanc.passes.program import add_constant, copy_program, finish
from spartanc.passes.protocol import GraphPass, PassReport, Skipped
from spartanc.passes.rewrite import aten, call, shape_of, size_key


class FoldDistances(GraphPass):
    name = "fold_distances"
    tolerance = 0.0

    def run(self, program: ExportedProgram) -> tuple[ExportedProgram, PassReport]:
        program, report = copy_program(program), PassReport(self.name)
        distances, squares = Distances(program), {}
        for node in [node for node in program.graph.nodes if node.target is aten.gather.default]:
            rows = distances.rows(node.args[2])
            found = token_inputs(program)
            if rows is None or found is None or len(shape_of(node)) != 3:
                report.skipped.append(Skipped(node.name, "which rows are gathered depends on more than the distance"))
                continue
            key = rows.numpy().tobytes()
            if key not in squares:
                squares[key] = _square(program, rows, found[0][0])
            with program.graph.inserting_before(node):
                heads = size_key(shape_of(node))[0]
                index = call(program.graph, aten.expand.default, (squares[key], [heads, -1, -1]))
            node.update_arg(2, index)
            report.changes += 1
        return finish(program), report


def _square(program: ExportedProgram, rows: torch.Tensor, ids: Node) -> Node:
    """[1, L, L]: the row of every two positions of a text as long as `ids` [1, L]."""
    longest = (len(rows) + 1) // 2
    places = torch.arange(longest)
    stored = rows[places[:, None] - places[None, :] + longest - 1][None]
    made = add_constant(program, f"distances_{longest}_{int(rows[0])}", stored, InputKind.CONSTANT_TENSOR)
    graph = program.graph
    with graph.inserting_before(next(node for node in graph.nodes if node.op == "call_function")):
        length = call(graph, aten.sym_size.int, (ids, 1))
        part = call(graph, aten.slice.Tensor, (made, 1, 0, length))
        return call(graph, aten.slice.Tensor, (part, 2, 0, length))
