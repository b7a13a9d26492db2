"""Attention of rounded programs may be computed in half precision.

before:  attention(q?, packed, mask?, heads)         window_attention(..)
after:   attention_half(q?, packed, mask?, heads)    window_attention_half(..)

Where linears are rounded to 8 bits, half precision adds a tenth of their noise, and processors that compute in it take
half the time (`spartan/attention.h`). Others compute both alike, and so does the eager reference.

Left alone, with the reason: attention with tables of distances, which has a kernel in float only.
"""

from __future__ import annotations

import torch
from torch.export import ExportedProgram

from spartanc.passes.program import copy_program, finish
from spartanc.passes.protocol import GraphPass, PassReport, Skipped

_spartan = torch.ops.spartan
_RELAXED = {
    _spartan.attention.default: _spartan.attention_half.default,
    _spartan.window_attention.default: _spartan.window_attention_half.default,
}


class RelaxAttention(GraphPass):
    name = "relax_attention"
    tolerance = 0.0  # of the reference; kernels are held to float64

    def run(self, program: ExportedProgram) -> tuple[ExportedProgram, PassReport]:
        program, report = copy_program(program), PassReport(self.name)
        for node in program.graph.nodes:
            if node.target in _RELAXED:
                node.target = _RELAXED[node.target]
                report.changes += 1
            elif node.target is _spartan.attention.relative:
                report.skipped.append(Skipped(node.name, "it has tables of distances"))
        return finish(program), report
