"""Where a fused memory stands in a graph: what follows it, and how another form of it takes its place.

y = memory_lookup(x, parents, keys, values, K, T)
z = x + y                                   taken in where it follows, and nothing else reads y
n = layer_norm(z, [H], weight, bias, eps)   taken in where that follows, and nothing else reads z
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import Node

from spartanc.passes.program import add_constant, constant_tensor
from spartanc.passes.protocol import PassReport, Skipped

LOOKUP = torch.ops.spartan.memory_lookup.default
_LAYER_NORM = torch.ops.aten.layer_norm.default
_ADD = torch.ops.aten.add.Tensor


@dataclass(frozen=True)
class MemorySite:
    """One `memory_lookup` whose tensors are constants, with the residual and LayerNorm that follow it alone."""

    lookup: Node
    parents_EH: Tensor
    keys_MH: Tensor
    values_MH: Tensor
    residual: Node | None
    norm: Node | None

    @property
    def top_k(self) -> int:
        return self.lookup.args[4]

    @property
    def temperature(self) -> float:
        return self.lookup.args[5]

    def replace(
        self, program: ExportedProgram, form: Any, constants: dict[str, Tensor | None], rest: Sequence[Any] = ()
    ) -> None:
        """Put `form`(x, *constants, *rest, norm weight, norm bias, eps, residual) in the site's place."""
        name = self.lookup.name
        nodes = [
            None if tensor is None else add_constant(program, f"{name}_{what}", tensor)
            for what, tensor in constants.items()
        ]
        weight = bias = None
        eps = 0.0
        if self.norm is not None:
            weight, bias = self.norm.args[2], self.norm.args[3]
            eps = self.norm.args[4] if len(self.norm.args) > 4 else 1e-5
        last = self.norm or self.residual or self.lookup
        arguments = (self.lookup.args[0], *nodes, *rest, weight, bias, eps, self.residual is not None)
        with program.graph.inserting_before(last):
            call = program.graph.call_function(form, arguments)
        call.meta.update(last.meta)
        last.replace_all_uses_with(call)


def memory_sites(program: ExportedProgram, report: PassReport) -> list[MemorySite]:
    """Every fused memory of `program`; those whose tensors are computed are reported as skipped."""
    found = []
    for lookup in [node for node in program.graph.nodes if node.target is LOOKUP]:
        tensors = [constant_tensor(program, node) for node in lookup.args[1:4]]
        if any(tensor is None for tensor in tensors):
            report.skipped.append(Skipped(lookup.name, "parents, keys or values are computed, not stored"))
            continue
        residual = _residual_after(lookup)
        norm = _norm_after(residual) if residual is not None else None
        parents, keys, values = (tensor.detach() for tensor in tensors if tensor is not None)
        found.append(MemorySite(lookup, parents, keys, values, residual, norm))
    report.changes = len(found)
    report.notes = {
        "residuals": sum(site.residual is not None for site in found),
        "layer_norms": sum(site.norm is not None for site in found),
    }
    return found


def unpacked_memory(program: ExportedProgram) -> str | None:
    """The first fused memory of constants that still stands as it was fused, in words; None if there is none."""
    for node in program.graph.nodes:
        if node.target is LOOKUP and all(constant_tensor(program, each) is not None for each in node.args[1:4]):
            return f"`{node.name}` is not packed"
    return None


@dataclass(frozen=True)
class FormChoice:
    """Whether all M child logits come out of one blocked product, or the K*C chosen keys are read alone.

    The product needs no horizontal sums and no grouping, which is worth so many times the work: `packed_up_to` says how
    many, for a target and a quantisation (`Target.packed_keys_up_to`). Infinity: one form for memories of every shape.
    """

    packed_up_to: float = 4.0

    def packs_keys(self, parents: int, cells: int, top_k: int) -> bool:
        return cells <= self.packed_up_to * top_k * (cells // parents)

    def explain(self, sites: Sequence[MemorySite]) -> dict[str, Any]:
        """For the report: how many memories take which form, and why."""
        packed = sum(self.packs_keys(len(s.parents_EH), len(s.keys_MH), s.top_k) for s in sites)
        return {
            "all_keys_in_one_product": packed,
            "keys_of_chosen_parents": len(sites) - packed,
            # None for every shape: JSON, and so a manifest, has no infinity.
            "one_product_up_to_times_the_chosen_cells": self.packed_up_to if math.isfinite(self.packed_up_to) else None,
        }


def _residual_after(lookup: Node) -> Node | None:
    """The `x + y` that is the only reader of the lookup."""
    users = list(lookup.users)
    if len(users) != 1 or users[0].target is not _ADD or users[0].kwargs.get("alpha", 1) != 1:
        return None
    left, right = users[0].args[:2]
    x = lookup.args[0]
    return users[0] if (left, right) in ((x, lookup), (lookup, x)) else None


def _norm_after(add: Node) -> Node | None:
    """The LayerNorm over the last dimension, with a weight, that is the only reader of the sum."""
    users = list(add.users)
    if len(users) != 1 or users[0].target is not _LAYER_NORM:
        return None
    norm = users[0]
    over_last = len(norm.args[1]) == 1
    return norm if over_last and len(norm.args) > 3 and norm.args[2] is not None else None
