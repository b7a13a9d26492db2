"""Linears that stay wider than the rest because rounding them costs labels: in fp32 among int8, in int8 among int4.

before:  linear(x, rounded_weight, rounded_bias)
after:   linear(x, kept_wider_N_weight, kept_wider_N_bias)         as they were before they were rounded

The name of the constant is what says so: it goes with the program through capturing it again. What quantises linears to
8 bits leaves them alone, and what quantises to 4 bits gives them 8.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind
from torch.fx import Node

from spartanc.passes.calibration import by_weight, stored_linears
from spartanc.passes.program import add_constant, copy_program, finish
from spartanc.passes.protocol import GraphPass, PassReport

MARK = "kept_wider_"

Weights = tuple[Tensor, Tensor | None]  # of one linear: [N, K] and [N]


def is_kept(linear: Node) -> bool:
    """Whether a linear is to stay wider than the rest."""
    weight = linear.args[1]
    return isinstance(weight, Node) and MARK in str(weight.target)


class KeepLinears(GraphPass):
    name = "keep_linears"
    tolerance = float("inf")  # it takes rounding back: judged end to end

    def __init__(self, kept: Mapping[str, Weights]):
        """kept: weight and bias of each linear that stays, by its name in the graph. Those that share a weight go on
        sharing it.
        """
        self._kept = kept

    def run(self, program: ExportedProgram) -> tuple[ExportedProgram, PassReport]:
        program, report = copy_program(program), PassReport(self.name)
        kept: list[dict[str, Any]] = []
        for linears in by_weight(stored_linears(program)):
            mine = [node for node in linears if node.name in self._kept]
            if not mine:
                continue
            name = f"{MARK}{len(kept)}"
            weight_NK = self._kept[mine[0].name][0]
            weight = add_constant(program, f"{name}_weight", weight_NK, InputKind.CONSTANT_TENSOR)
            biases: dict[Node | None, Node | None] = {}
            for node in mine:
                stored = node.args[2] if len(node.args) > 2 else None
                if stored not in biases:
                    bias_N = self._kept[node.name][1]
                    made = None
                    if bias_N is not None:
                        made = add_constant(program, f"{name}_bias_{len(biases)}", bias_N, InputKind.CONSTANT_TENSOR)
                    biases[stored] = made
                node.args = (node.args[0], weight, biases[stored])
                report.changes += 1
            outputs, inputs = weight_NK.shape
            kept.append({"linear": mine[0].name, "outputs": outputs, "inputs": inputs, "applied": len(mine)})
        report.notes["kept"] = kept
        return finish(program), report
