"""Lower `spartan::memory_lookup` to stock operators, for a runtime that nothing of ours can be linked into.

Before:   y = spartan::memory_lookup(x, parents, keys, values, top_k, temperature)

After (all constants are new buffers; `linear` is aten.linear with a constant weight):

    p   = linear(x, parents)                            parent logits
    off = 0 for the chosen parents, -1 for the others   see `portable_parents`
    a   = softmax(p + 2^100 * off)                      parent weights; exactly 0 for the others
    y   = the cells under every parent, weighted by a   see `portable_cells`

Why this form. XNNPACK takes `linear` with constant weights, and no topk, comparison, scatter or gather; one
operator that it does not take cuts a layer in two. So the choice of parents is arithmetic as well, all cells are
computed, and those of the others get weight 0. What it costs over the fused operator is the passes over small
tensors, one for each operator: their number is what both modules keep low.

Variations: a single parent has weight 1; top_k = E chooses nothing (a = softmax(p)); with one cell a parent
keys do not matter (y = linear(a, values)).

Left alone, with the reason: a memory whose tensors are not constants of the program (a method's inputs).

Numbers: the same function, rounded in another order; the temperature is folded into the keys.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import Graph, Node

from spartanc.passes.emitter import Constants, Emitter
from spartanc.passes.portable_cells import weighted_cells
from spartanc.passes.portable_parents import logits_of_equals, parent_weights
from spartanc.passes.program import copy_program, finish
from spartanc.passes.properties import Property
from spartanc.passes.protocol import GraphPass, PassReport, Skipped
from spartanc.passes.rewrite import aten

NOT_CONSTANT = "its parents, keys or values are not constants of the program"


class LowerMemoryPortable(GraphPass):
    """See the module's docstring."""

    name = "lower_memory_portable"
    provides = frozenset({Property.STOCK_OPERATORS})
    breaks = frozenset({Property.MEMORIES_FUSED})
    tolerance = 1e-5

    def run(self, program: ExportedProgram) -> tuple[ExportedProgram, PassReport]:
        report = PassReport(self.name)
        result = copy_program(program)
        graph = result.graph
        constants = Constants(result)
        forms: dict[str, int] = {}
        for node in _memories(graph):
            parents, keys, values = (constants.value(argument) for argument in node.args[1:4])
            if parents is None or keys is None or values is None:
                report.skipped.append(Skipped(node.name, NOT_CONSTANT))
                continue
            top_k, temperature = node.args[4], node.args[5]
            with graph.inserting_before(node):
                emit = Emitter(graph, node, constants)
                form, y = _lower(emit, constants, node.args[0], parents, keys / temperature, values, top_k)
            node.replace_all_uses_with(y)
            graph.erase_node(node)
            forms[form] = forms.get(form, 0) + 1
            report.changes += 1
        report.notes["forms"] = forms
        return finish(result), report

    def holds(self, program: ExportedProgram) -> str | None:
        for node in _memories(program.graph):
            return f"`{node.name}` is still a spartan::memory_lookup"
        return None


def _memories(graph: Graph) -> list[Node]:
    return [node for node in graph.nodes if node.target is torch.ops.spartan.memory_lookup.default]


def _lower(
    emit: Emitter, constants: Constants, x: Node, parents_EH: Tensor, keys_MH: Tensor, values_MH: Tensor, top_k: int
) -> tuple[str, Node]:
    """Emit one memory, its keys divided by the temperature; the name of the form that was taken, and its result."""
    E = parents_EH.shape[0]
    if E == 1:
        b = emit(aten.softmax.int, emit.linear(x, emit.constant("keys", keys_MH)), -1)
        return "one parent", emit.linear(b, emit.constant("values", values_MH.T))
    p = logits_of_equals(emit, emit.linear(x, emit.constant("parents", parents_EH)), parents_EH)
    selection, a = parent_weights(emit, p, E, top_k)
    if keys_MH.shape[0] == E:
        return f"{selection}, one cell", emit.linear(a, emit.constant("values", values_MH.T))
    form, y = weighted_cells(emit, constants, x, a, keys_MH, values_MH, E)
    return f"{selection}, {form}", y
