"""What is computed of stored tensors alone becomes a stored tensor.

before:  linear(layer_norm(rel_embeddings, ..), Wk, bk) -> view -> permute      for every text, in every layer (DeBERTa)
after:   the result

So does a single number, as the scale of scores: sqrt(64 * 3).
Left alone: what depends on the text or its length, and what only rearranges or widens a stored tensor, which its reader
may know how to take as it is. Bit-exact.
"""

from __future__ import annotations

import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind
from torch.fx import Node

from spartanc.passes.evaluate import evaluate
from spartanc.passes.program import add_constant, constant_tensor, copy_program, finish
from spartanc.passes.properties import Property
from spartanc.passes.protocol import GraphPass, PassReport
from spartanc.passes.rewrite import aten

_WORK = {aten.linear.default, aten.layer_norm.default}


class FoldConstants(GraphPass):
    name = "fold_constants"
    provides = frozenset({Property.CONSTANTS_FOLDED})
    tolerance = 0.0

    def run(self, program: ExportedProgram) -> tuple[ExportedProgram, PassReport]:
        program, report = copy_program(program), PassReport(self.name)
        numbers = 0
        for node in _last_constants(program):
            value = evaluate(program, node, {})
            made = add_constant(program, f"{node.name}_folded", value.clone(), InputKind.CONSTANT_TENSOR)
            node.replace_all_uses_with(made)
            report.changes += 1
            numbers += value.numel()
        report.notes = {"numbers stored": numbers}
        return finish(program), report

    def holds(self, program: ExportedProgram) -> str | None:
        for node in _last_constants(program):
            # Later passes may write down a number of their own; none computes with weights alone.
            if node.meta["val"].numel() > 1:
                return f"`{node.name}` is computed of stored tensors alone"
        return None


def _last_constants(program: ExportedProgram) -> list[Node]:
    """Constant nodes worth storing that something else than constant nodes reads."""
    constant: set[Node] = set()
    worked: set[Node] = set()  # those behind a linear or a LayerNorm
    for node in program.graph.nodes:
        if node.op == "placeholder":
            if constant_tensor(program, node) is not None:
                constant.add(node)
        elif _is_computed_of(node, constant):
            constant.add(node)
            if node.target in _WORK or any(source in worked for source in node.all_input_nodes):
                worked.add(node)
    return [
        node
        for node in program.graph.nodes
        if node in constant
        and node.op == "call_function"
        and (node in worked or node.meta["val"].numel() == 1)
        and any(user not in constant for user in node.users)
    ]


def _is_computed_of(node: Node, constant: set[Node]) -> bool:
    """Whether all inputs of a tensor's node are in `constant`; a dynamic size of the text is an input that is not."""
    if node.op != "call_function" or not isinstance(node.meta.get("val"), torch.Tensor):
        return False
    return bool(node.all_input_nodes) and all(source in constant for source in node.all_input_nodes)
