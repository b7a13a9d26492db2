"""One linear whose result is taken apart becomes several, each with its own rows of the weight.

before:  split(linear(x, [Wa; Wb]), H, -1)                        ModernBERT's gated units
         unbind(view(linear(x, [Wq; Wk; Wv]), [1, L, 3, h, d]), 2)   its queries, keys and values
after:   linear(x, Wa), linear(x, Wb)
         view(linear(x, Wq), [1, L, h, d]), ..

XNNPACK has no split of a dynamic length, and passes behind this one know projections as linears of their own.
Left alone, with the reason: weights that are computed, and parts of unequal width. Exact to the order of sums.
"""

from __future__ import annotations

import operator

from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind
from torch.fx import Node

from spartanc.passes.program import add_constant, constant_tensor, copy_program, finish
from spartanc.passes.protocol import GraphPass, PassReport, Skipped
from spartanc.passes.rewrite import VIEWS, aten, call, inferable, shape_of

_LINEAR = aten.linear.default


class SplitLinears(GraphPass):
    name = "split_linears"
    tolerance = 1e-5

    def run(self, program: ExportedProgram) -> tuple[ExportedProgram, PassReport]:
        program, report = copy_program(program), PassReport(self.name)
        for node in list(program.graph.nodes):
            linear = _linear_of(node)
            if linear is None:
                continue
            reason = _why_not(program, node, linear)
            if reason is not None:
                report.skipped.append(Skipped(node.name, reason))
                continue
            _split(program, node, linear)
            report.changes += 1
        return finish(program), report


def _linear_of(node: Node) -> Node | None:
    """The linear whose output features `node` takes apart; None if it does no such thing."""
    if node.target is aten.split.Tensor and node.args[0].target is _LINEAR:
        dim = node.args[2] if len(node.args) > 2 else 0
        return node.args[0] if dim % len(shape_of(node.args[0])) == len(shape_of(node.args[0])) - 1 else None
    if node.target is aten.unbind.int and node.args[0].target in VIEWS and node.args[0].args[0].target is _LINEAR:
        view = node.args[0]
        dim = (node.args[1] if len(node.args) > 1 else 0) % len(shape_of(view))
        lead = len(shape_of(view.args[0])) - 1  # features follow from here on
        return view.args[0] if dim == lead else None
    return None


def _why_not(program: ExportedProgram, node: Node, linear: Node) -> str | None:
    if any(constant_tensor(program, each) is None for each in linear.args[1:] if each is not None):
        return "the linear's weights are computed, not stored"
    if (
        len(linear.users) > 1
        or len(node.args[0].users) > 1
        or any(u.target is not operator.getitem for u in node.users)
    ):
        return "something else reads the linear's result too"
    if node.target is aten.split.Tensor and shape_of(linear)[-1] % node.args[1]:
        return "its parts are of unequal width"
    if inferable(shape_of(linear)) is None:
        return "it has more than one dynamic size"
    return None


def _split(program: ExportedProgram, node: Node, linear: Node) -> None:
    graph = program.graph
    count = len(node.meta["val"])
    width = shape_of(linear)[-1] // count
    for reader in list(node.users):
        index = reader.args[1]
        rows = slice(index * width, (index + 1) * width)
        made = []
        for place, what in ((1, "weight"), (2, "bias")):
            if len(linear.args) > place and linear.args[place] is not None:
                # XNNPACK's serialiser writes a tensor from the start of its storage, wherever in it the tensor begins.
                whole = constant_tensor(program, linear.args[place])
                assert whole is not None
                name = f"{linear.name}_{what}_{index}"
                made.append(add_constant(program, name, whole.detach()[rows].clone(), InputKind.CONSTANT_TENSOR))
        with graph.inserting_before(reader):
            part = call(graph, _LINEAR, (linear.args[0], *made))
            if node.target is aten.unbind.int:
                part = call(graph, aten.view.default, (part, inferable(shape_of(reader))))
        reader.replace_all_uses_with(part)
