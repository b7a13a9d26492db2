"""A residual and its LayerNorm as one operator of ours, whose kernel takes them in one pass on all threads.

before:  s = x + r
         y = layer_norm(s, [H], weight, bias, eps)
after:   y = spartan::add_layer_norm(x, r, weight, bias, eps)

The residual comes in where nothing else reads the sum and both operands have the row's shape; a LayerNorm after
anything else becomes add_layer_norm(x, None, ..).
Left alone, with the reason: a LayerNorm over more than the last dimension, or without a weight, or not of float32.
The result differs by rounding: the order of a row's sums.
"""

from __future__ import annotations

import torch
from torch.export import ExportedProgram
from torch.fx import Node

from spartanc.passes.program import copy_program, finish
from spartanc.passes.properties import Property
from spartanc.passes.protocol import GraphPass, PassReport, Skipped
from spartanc.passes.rewrite import aten, call, same_shape

_FUSED = torch.ops.spartan.add_layer_norm.default


class FuseLayerNorms(GraphPass):
    name = "fuse_layer_norms"
    provides = frozenset({Property.LAYER_NORMS_FUSED})
    tolerance = 1e-5

    def run(self, program: ExportedProgram) -> tuple[ExportedProgram, PassReport]:
        program, report = copy_program(program), PassReport(self.name)
        residuals = 0
        for node in [node for node in program.graph.nodes if node.target is aten.layer_norm.default]:
            reason = _why_not(node)
            if reason is not None:
                report.skipped.append(Skipped(node.name, reason))
                continue
            weight, bias, eps = _argument(node, 2, None), _argument(node, 3, None), _argument(node, 4, 1e-5)
            x, residual = _operands(node.args[0])
            residuals += residual is not None
            with program.graph.inserting_before(node):
                fused = call(program.graph, _FUSED, (x, residual, weight, bias, eps))
            fused.meta.update(node.meta)
            node.replace_all_uses_with(fused)
            report.changes += 1
        report.notes = {"with residual": residuals}
        return finish(program), report

    def holds(self, program: ExportedProgram) -> str | None:
        for node in program.graph.nodes:
            if node.target is aten.layer_norm.default and _why_not(node) is None:
                return f"`{node.name}` is not fused"
        return None


def _argument(node: Node, index: int, default: object) -> object:
    return node.args[index] if len(node.args) > index else default


def _why_not(node: Node) -> str | None:
    if len(node.args[1]) != 1:
        return "it normalises more than the last dimension"
    if _argument(node, 2, None) is None:
        return "it has no weight"
    if node.meta["val"].dtype is not torch.float32:
        return "it is not float32"
    return None


def _operands(total: Node) -> tuple[Node, Node | None]:
    """Two operands of a plain sum that nothing else reads, or the sum itself."""
    if total.target is aten.add.Tensor and len(total.users) == 1 and total.kwargs.get("alpha", 1) == 1:
        x, residual = total.args
        if all(isinstance(each, Node) and same_shape(each, total) for each in (x, residual)):
            return x, residual
    return total, None
