"""Memories with int8 or 4-bit cells, quantised by torchao, in the layout of the kernels.

before:  memory_lookup(x, parents, keys, values, K, T), and the residual and LayerNorm that follow
after:   memory_lookup.int8(x, layout = [E, M, K], logit_weights, key_cells, key_scales, value_cells, value_scales,
                            weight?, bias?, eps, residual)                        a scale for each cell
   or    memory_lookup.int4(the same, group_size = 32, …)                         a scale for every 32 of a cell

Parents are not quantised: a parent that flips is a jump. Of 16,194 positions of a trained 6-layer encoder (TREC-6, 200
test questions, K=8 of 16, against float64) the chosen set changed in 0 with parents in fp32, in 7 with fp16, 37 with
bf16, 141 with int8, and 306 where the activations were int8 too. They are rounded to half precision, as a task of a
fleet brings them (`lift_task_tensors`): those 7 are what it costs that a fleet answers as its tasks' own bundles do.
Left alone, with the reason: a memory whose tensors are computed rather than stored. A hidden size that 4-bit groups
do not divide is a UsageError. Judged end to end, by labels and accuracy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torchao.quantization import IntxWeightOnlyConfig, quantize_
from torchao.quantization.granularity import Granularity, PerAxis, PerGroup

from spartanc.errors import UsageError
from spartanc.passes.memory_site import FormChoice, memory_sites, unpacked_memory
from spartanc.passes.ops.memory_lookup import INT4_GROUP
from spartanc.passes.ops.packing import QuantizedMemory
from spartanc.passes.program import copy_program, finish
from spartanc.passes.properties import Property
from spartanc.passes.protocol import GraphPass, PassReport


@dataclass(frozen=True)
class CellForm:
    """One way to hold keys and values in integers.

    bits: of an integer. overload: of `spartan::memory_lookup`, which reads `pack`'s tensors. group: how many of a cell
    share a scale, an argument of that overload; None for the whole cell.
    """

    bits: int
    overload: str
    pack: Callable[..., QuantizedMemory]
    group: int | None = None


class QuantizeMemories(GraphPass):
    name = "quantize_memories"
    requires = frozenset({Property.MEMORIES_FUSED})
    provides = frozenset({Property.MEMORIES_PACKED})
    tolerance = float("inf")  # judged end to end: by labels and accuracy, never by logits

    def __init__(self, form: CellForm, choice: FormChoice | None = None):
        self._form = form
        self._choice = choice or FormChoice()

    def run(self, program: ExportedProgram) -> tuple[ExportedProgram, PassReport]:
        program, report = copy_program(program), PassReport(self.name)
        form = self._form
        operator = getattr(torch.ops.spartan.memory_lookup, form.overload)
        rest = () if form.group is None else (form.group,)
        sites = memory_sites(program, report)
        report.notes |= self._choice.explain(sites)
        for site in sites:
            memory = form.pack(
                rounded_to_half(site.parents_EH),
                *quantize_cells(site.keys_MH, form.bits),
                *quantize_cells(site.values_MH, form.bits),
                site.top_k,
                site.temperature,
                pack_keys=self._choice.packs_keys(len(site.parents_EH), len(site.keys_MH), site.top_k),
            )
            site.replace(program, operator, memory._asdict(), rest)
        report.notes["bits"] = form.bits
        return finish(program), report

    def holds(self, program: ExportedProgram) -> str | None:
        return unpacked_memory(program)


def rounded_to_half(parents_EH: Tensor) -> Tensor:
    """fp32 of half precision's values; as they are where one is beyond its range."""
    rounded = parents_EH.half().float()
    return rounded if torch.isfinite(rounded).all() else parents_EH


def require_groups(hidden: int, option: str) -> None:
    """Raise UsageError where groups of 32 do not divide the hidden size. option: that asked for `int4`."""
    if hidden % INT4_GROUP:
        raise UsageError(
            f"`int4` quantises memories in groups of {INT4_GROUP}, which do not divide the hidden size {hidden}",
            hint=f"`{option} int8` takes every hidden size",
        )


def quantize_cells(cells_MH: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """torchao's integers int8 [M, H] (within -8 to 7 for 4 bits) and scales: [M] for 8 bits, [M, H / 32] for 4.

    Raises UsageError where groups of 32 do not divide H.
    """
    count, hidden = cells_MH.shape
    if bits == 4:
        require_groups(hidden, "--quantize")
    # torchao quantises the weights of modules; a cell is a row, so the cells are a linear's weight.
    holder = nn.Linear(hidden, count, bias=False)
    holder.weight = nn.Parameter(cells_MH.detach().clone(), requires_grad=False)
    dtype, granularity = (torch.int8, PerAxis(0)) if bits == 8 else (torch.int4, PerGroup(INT4_GROUP))
    _quantize(holder, dtype, granularity)
    return holder.weight.qdata, holder.weight.scale.flatten() if bits == 8 else holder.weight.scale


def _quantize(holder: nn.Linear, dtype: torch.dtype, granularity: Granularity) -> None:
    quantize_(holder, IntxWeightOnlyConfig(weight_dtype=dtype, granularity=granularity))
