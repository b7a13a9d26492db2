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

from spartanc.passes.calibration import stored_linears
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
        """kept: weight and bias of each linear that stays, by its name in the graph."""
        self._kept = kept

    def run(self, program: ExportedProgram) -> tuple[ExportedProgram, PassReport]:
        program, report = copy_program(program), PassReport(self.name)
        kept: list[dict[str, Any]] = []
        for node in stored_linears(program):
            if node.name not in self._kept:
                continue
            weight_NK, bias_N = self._kept[node.name]
            name = f"{MARK}{report.changes}"
            weight = add_constant(program, f"{name}_weight", weight_NK, InputKind.CONSTANT_TENSOR)
            bias = None if bias_N is None else add_constant(program, f"{name}_bias", bias_N, InputKind.CONSTANT_TENSOR)
            node.args = (node.args[0], weight, bias)
            report.changes += 1
            kept.append({"linear": node.name, "outputs": weight_NK.shape[0], "inputs": weight_NK.shape[1]})
        report.notes["kept"] = kept
        return finish(program), report
