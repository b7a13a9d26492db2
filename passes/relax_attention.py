"""Attention of rounded programs may be computed in half precision.

before:  attention(q?, packed, mask?, heads)
after:   attention_half(q?, packed, mask?, heads)

Where linears are rounded to 8 bits, half precision adds a tenth of their noise, and processors that compute in it take
half the time (`spartan/attention.h`). Others compute both alike, and so does the eager reference.

Left alone, with the reason: attention with tables of distances, which has a kernel in float only.
"""

from __future__ import annotations

import torch
from torch.export import ExportedProgram

from spartanc.passes.program import copy_program, finish
from spartanc.passes.protocol import GraphPass, PassReport, Skipped

_ATTENTION = torch.ops.spartan.attention


class RelaxAttention(GraphPass):
    name = "relax_attention"
    tolerance = 0.0  # of the reference; kernels are held to float64

    def run(self, program: ExportedProgram) -> tuple[ExportedProgram, PassReport]:
        program, report = copy_program(program), PassReport(self.name)
        for node in program.graph.nodes:
            if node.target is _ATTENTION.default:
                node.target = torch.ops.spartan.attention_half.default
                report.changes += 1
            elif node.target is _ATTENTION.relative:
                report.skipped.append(Skipped(node.name, "it has tables of distances"))
        return finish(program), report
