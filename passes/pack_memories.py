"""Memories in fp32, in the layout of the kernels.

before:  memory_lookup(x, parents, keys, values, K, T), and the residual and LayerNorm that follow
after:   memory_lookup.packed(x, layout = [E, M, K], logit_weights, keys?, values, weight?, bias?, eps, residual)

The temperature goes into the keys. Parents and keys are packed together into one product's weights while the
cells are few; with many cells only the parents are, and keys are read for the chosen alone (`FormChoice`).

Left alone, with the reason: a memory whose tensors are computed rather than stored, and any LayerNorm that a
residual doesn't precede. The result differs by rounding: x·(keys/T) for (x·keys)/T.
"""

from __future__ import annotations

import torch
from torch.export import ExportedProgram

from spartanc.passes.memory_site import FormChoice, memory_sites, unpacked_memory
from spartanc.passes.ops.packing import pack_memory
from spartanc.passes.program import copy_program, finish
from spartanc.passes.properties import Property
from spartanc.passes.protocol import GraphPass, PassReport


class PackMemories(GraphPass):
    name = "pack_memories"
    requires = frozenset({Property.MEMORIES_FUSED})
    provides = frozenset({Property.MEMORIES_PACKED})
    tolerance = 1e-5

    def __init__(self, choice: FormChoice | None = None):
        self._choice = choice or FormChoice()

    def run(self, program: ExportedProgram) -> tuple[ExportedProgram, PassReport]:
        program, report = copy_program(program), PassReport(self.name)
        sites = memory_sites(program, report)
        report.notes |= self._choice.explain(sites)
        for site in sites:
            packed = self._choice.packs_keys(len(site.parents_EH), len(site.keys_MH), site.top_k)
            memory = pack_memory(
                site.parents_EH, site.keys_MH, site.values_MH, site.top_k, site.temperature, pack_keys=packed
            )
            site.replace(program, torch.ops.spartan.memory_lookup.packed, memory._asdict())
        return finish(program), report

    def holds(self, program: ExportedProgram) -> str | None:
        return unpacked_memory(program)
