"""Linears with int8 weights for spartanc's own kernels, quantised by torchao, packed, their GELU folded in.

before:  linear(x, weight_fp32[N, K], bias) [-> gelu]            weight and bias stored; gelu exact, its only reader
after:   linear_int8(x, blocks, scales[N], sums[N], bias, gelu)  see spartanc.passes.ops.linear_int8

A scale for each output; weights from -127 to 127, as the kernels need them; activations are rounded row by row at run
time. Left alone, with the reason: a linear whose weight or bias is computed or an input of the program, or not float32,
or of a size that the kernels do not take. A GELU by tanh stays outside. Judged end to end, by labels and accuracy.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import Node
from torch.nn.functional import pad
from torchao.quantization import MappingType
from torchao.quantization.quant_primitives import choose_qparams_affine, quantize_affine

from spartanc.passes.keep_linears import is_kept
from spartanc.passes.last_linear import gives_the_logits
from spartanc.passes.ops.linear_int8 import MAX_INPUTS, MAX_OUTPUTS, pack_weights
from spartanc.passes.program import add_constant, constant_tensor, copy_program, finish
from spartanc.passes.properties import Property
from spartanc.passes.protocol import GraphPass, PassReport, Skipped

_LINEAR = torch.ops.aten.linear.default
_GELU = torch.ops.aten.gelu.default


class QuantizeLinears(GraphPass):
    name = "quantize_linears"
    provides = frozenset({Property.INT8_LINEARS})
    tolerance = float("inf")  # judged end to end: by labels and accuracy, never by logits

    def __init__(self, *, keep_logits: bool = False):
        """keep_logits: the linear that gives the logits stays in fp32."""
        self._keep_logits = keep_logits

    def run(self, program: ExportedProgram) -> tuple[ExportedProgram, PassReport]:
        program, report = copy_program(program), PassReport(self.name)
        report.notes["gelus"] = 0
        for number, node in enumerate([node for node in program.graph.nodes if node.target is _LINEAR]):
            reason = self._refusal(program, node)
            if reason is not None:
                report.skipped.append(Skipped(node.name, reason))
                continue
            gelu = _only_gelu(node)
            _replace(program, node, gelu, number)
            report.changes += 1
            report.notes["gelus"] += gelu is not None
        return finish(program), report

    def holds(self, program: ExportedProgram) -> str | None:
        for node in program.graph.nodes:
            if node.target is _LINEAR and self._refusal(program, node) is None:
                return f"`{node.name}` still has an fp32 weight"
        return None

    def _refusal(self, program: ExportedProgram, node: Node) -> str | None:
        if self._keep_logits and gives_the_logits(node):
            return "it gives the logits, and stays in fp32"
        if is_kept(node):
            return "rounding it would cost labels, and it stays in fp32"
        return _refusal(program, node)


def _refusal(program: ExportedProgram, node: Node) -> str | None:
    weight = constant_tensor(program, node.args[1])
    if weight is None:
        return "its weight is an input or computed, not stored"
    if _bias(node) is not None and constant_tensor(program, _bias(node)) is None:
        return "its bias is an input or computed, not stored"
    if weight.dtype != torch.float32:
        return f"its weight is {weight.dtype}"
    outputs, inputs = weight.shape
    if not (1 <= inputs <= MAX_INPUTS and 1 <= outputs <= MAX_OUTPUTS):
        return f"its weight is [{outputs}, {inputs}]: the kernels take up to [{MAX_OUTPUTS}, {MAX_INPUTS}]"
    return None


def _bias(node: Node) -> Node | None:
    return node.args[2] if len(node.args) > 2 else None


def _only_gelu(node: Node) -> Node | None:
    """The exact GELU that is the only reader of `node`."""
    readers = list(node.users)
    if len(readers) != 1 or readers[0].target is not _GELU:
        return None
    return readers[0] if readers[0].kwargs.get("approximate", "none") == "none" else None


def quantize_weights(weight_NK: Tensor) -> tuple[Tensor, Tensor]:
    """torchao's symmetric int8 [N, K] within -127 to 127, and scales float32 [N]: an output's largest weight is 127."""
    inputs = weight_NK.shape[1]
    weight_NK = pad(weight_NK.detach(), (0, int(inputs == 1)))  # torchao takes blocks of one for a single block
    block, limits = (1, weight_NK.shape[1]), {"quant_min": -127, "quant_max": 127}
    scales_N, zeros_N = choose_qparams_affine(weight_NK, MappingType.SYMMETRIC, block, torch.int8, **limits)
    integers_NK = quantize_affine(weight_NK, block, scales_N, zeros_N, torch.int8, **limits)
    return integers_NK[:, :inputs], scales_N.flatten()


def _replace(program: ExportedProgram, node: Node, gelu: Node | None, number: int) -> None:
    weight_NK = constant_tensor(program, node.args[1])
    packed = pack_weights(*quantize_weights(weight_NK))
    constants = [add_constant(program, f"linear_{number}_{name}", tensor) for name, tensor in packed._asdict().items()]
    with program.graph.inserting_before(node):
        arguments = (node.args[0], *constants, _bias(node), gelu is not None)
        made = program.graph.call_function(torch.ops.spartan.linear_int8.default, arguments)
    made.meta.update((gelu or node).meta)
    for each in (gelu, node) if gelu is not None else (node,):
        each.replace_all_uses_with(made)
        program.graph.erase_node(each)
