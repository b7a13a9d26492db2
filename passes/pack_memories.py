"""Memories in the layout of the kernels, with the residual and the LayerNorm that follow.

before:  y = memory_lookup(x, parents, keys, values, K, T)
         z = x + y                                             (where it follows, and nothing else reads y)
         n = layer_norm(z, [H], weight, bias, eps)             (where that follows, and nothing else reads z)
after:   memory_lookup.packed(x, layout = [E, M, K], logit_weights, keys?, values, weight?, bias?, eps, residual)

The temperature goes into the keys. Parents and keys are packed together into one product's weights while the
cells are few; with many cells only the parents are, and keys are read for the chosen alone (`keys_are_packed`).

Left alone, with the reason: a memory whose tensors are computed rather than stored, and any LayerNorm that a
residual doesn't precede. The result differs by rounding: x·(keys/T) for (x·keys)/T.
"""

from __future__ import annotations

import torch
from torch.export import ExportedProgram
from torch.fx import Node

from spartanc.compiler.ops.memory_lookup import memory_lookup  # noqa: F401  (registers the operator)
from spartanc.compiler.ops.packing import pack_logit_weights, pack_values
from spartanc.passes.program import add_constant, constant_tensor, copy_program, finish
from spartanc.passes.protocol import GraphPass, PassReport, Skipped

_LOOKUP = torch.ops.spartan.memory_lookup.default
_PACKED = torch.ops.spartan.memory_lookup.packed
_LAYER_NORM = torch.ops.aten.layer_norm.default
_ADD = torch.ops.aten.add.Tensor


class PackMemories(GraphPass):
    name = "pack_memories"
    requires = frozenset({"memories_fused"})
    provides = frozenset({"memories_packed"})
    tolerance = 1e-5

    def run(self, program: ExportedProgram) -> tuple[ExportedProgram, PassReport]:
        program, report = copy_program(program), PassReport(self.name)
        residuals = norms = 0
        for lookup in [node for node in program.graph.nodes if node.target is _LOOKUP]:
            tensors = [constant_tensor(program, node) for node in lookup.args[1:4]]
            if any(tensor is None for tensor in tensors):
                report.skipped.append(Skipped(lookup.name, "parents, keys or values are computed, not stored"))
                continue
            add = _residual_after(lookup)
            norm = _norm_after(add) if add is not None else None
            self._replace(program, lookup, add, norm, tensors)
            residuals, norms = residuals + (add is not None), norms + (norm is not None)
            report.changes += 1
        report.notes = {"residuals": residuals, "layer_norms": norms}
        return finish(program), report

    def holds(self, program: ExportedProgram) -> str | None:
        for node in program.graph.nodes:
            if node.target is _LOOKUP and all(constant_tensor(program, n) is not None for n in node.args[1:4]):
                return f"`{node.name}` is not packed"
        return None

    def _replace(
        self,
        program: ExportedProgram,
        lookup: Node,
        add: Node | None,
        norm: Node | None,
        tensors: list[torch.Tensor],
    ) -> None:
        x, top_k, temperature = lookup.args[0], lookup.args[4], lookup.args[5]
        parents_EH, keys_MH = tensors[0].detach(), tensors[1].detach()
        scaled_MH = keys_MH / temperature
        packed = keys_are_packed(len(parents_EH), len(keys_MH), top_k)
        weights = pack_logit_weights(parents_EH, scaled_MH if packed else None)

        last = norm or add or lookup
        layout = torch.tensor([len(parents_EH), len(keys_MH), top_k])
        norm_weight = norm_bias = None
        eps = 0.0
        if norm is not None:
            norm_weight, norm_bias = norm.args[2], norm.args[3]
            eps = norm.args[4] if len(norm.args) > 4 else 1e-5
        arguments = (
            x,
            add_constant(program, f"{lookup.name}_layout", layout),
            add_constant(program, f"{lookup.name}_logit_weights", weights),
            None if packed else add_constant(program, f"{lookup.name}_keys", scaled_MH),
            add_constant(program, f"{lookup.name}_values", pack_values(tensors[2].detach()))
            if packed
            else lookup.args[3],
            norm_weight,
            norm_bias,
            eps,
            add is not None,
        )
        with program.graph.inserting_before(last):
            call = program.graph.call_function(_PACKED, arguments)
        call.meta.update(last.meta)
        last.replace_all_uses_with(call)


def keys_are_packed(parents: int, cells: int, top_k: int) -> bool:
    """Whether computing all M child logits in one blocked product beats reading the K*C chosen keys alone.

    The blocked product needs no horizontal sums and no gathering, which is worth several times the work.
    """
    chosen = top_k * (cells // parents)
    return cells <= 4 * chosen


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
