"""Squares and cubes as products.

before:  pow(x, 3)                 pow(x, 2)
after:   mul(mul(x, x), x)         mul(x, x)

The GELU that is written with tanh (ALBERT's `gelu_new`) holds a cube, which XNNPACK doesn't take: each costs a way out
of its delegate and back, and hides from `drop_dead_tokens` that positions are treated apart.
Left alone, with the reason: other exponents, and powers of integers. Bit-exact: torch computes both powers so.
"""

from __future__ import annotations

from torch.export import ExportedProgram
from torch.fx import Node

from spartanc.passes.program import copy_program, finish
from spartanc.passes.properties import Property
from spartanc.passes.protocol import GraphPass, PassReport, Skipped
from spartanc.passes.rewrite import aten, call

_POWER = aten.pow.Tensor_Scalar


class ExpandPowers(GraphPass):
    name = "expand_powers"
    provides = frozenset({Property.SMALL_POWERS_EXPANDED})
    tolerance = 0.0

    def run(self, program: ExportedProgram) -> tuple[ExportedProgram, PassReport]:
        program, report = copy_program(program), PassReport(self.name)
        for node in [node for node in program.graph.nodes if node.target is _POWER]:
            reason = _why_not(node)
            if reason is not None:
                report.skipped.append(Skipped(node.name, reason))
                continue
            x, exponent = node.args
            with program.graph.inserting_before(node):
                product = call(program.graph, aten.mul.Tensor, (x, x))
                if exponent == 3:
                    product = call(program.graph, aten.mul.Tensor, (product, x))
            node.replace_all_uses_with(product)
            report.changes += 1
        return finish(program), report

    def holds(self, program: ExportedProgram) -> str | None:
        for node in program.graph.nodes:
            if node.target is _POWER and _why_not(node) is None:
                return f"`{node.name}` is a power that two products would do for"
        return None


def _why_not(node: Node) -> str | None:
    if node.args[1] not in (2, 3):
        return f"the exponent is {node.args[1]}"
    if not node.meta["val"].is_floating_point():
        return "it is a power of integers"
    return None
