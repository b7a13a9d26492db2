"""Linears with 4-bit weights for XNNPACK, a bfloat16 scale for every 32 inputs of an output.

before:  linear(x, weight_fp32[N, K], bias)                      weight and bias stored
after:   linear(dequantize(quantize(x)), dequantize(integers[N, K], scales[N, K / 32]), bias)

XNNPACK's partitioner takes the whole pattern for one product: rows rounded to 8 bits at run time, weights packed two a
byte. The operators are torchao's for weights and PyTorch's for rows. What is read once is quantised once for all that
read it. `weight_grids` has the scales; weights that lie on such a grid stay what they are.

In 8 bits with a scale for each output: a linear that is to be kept wider, and one whose inputs groups of 32 don't
divide. Left alone, with the reason: a linear whose weight or bias is computed or an input of the program, or not
float32; the one that gives the logits. Judged end to end, by labels and accuracy.
"""

from __future__ import annotations

import operator

import torch
import torchao.quantization.pt2e.quantize_pt2e  # noqa: F401  (registers both sets of operators)
from torch.export import ExportedProgram
from torch.fx import Node

from spartanc.passes.calibration import stored_linears, stored_weights
from spartanc.passes.keep_linears import is_kept
from spartanc.passes.program import add_constant, constant_tensor, copy_program, finish
from spartanc.passes.properties import Property
from spartanc.passes.protocol import GraphPass, PassReport, Skipped
from spartanc.passes.rewrite import call
from spartanc.passes.weight_grids import INT4, INT8, WeightGrid, grid_of

_LINEAR = torch.ops.aten.linear.default
_ROWS = torch.ops.quantized_decomposed


class QuantizeLinearsInt4(GraphPass):
    name = "quantize_linears_int4"
    provides = frozenset({Property.INT4_LINEARS})
    tolerance = float("inf")  # judged end to end: by labels and accuracy, never by logits

    def run(self, program: ExportedProgram) -> tuple[ExportedProgram, PassReport]:
        program, report = copy_program(program), PassReport(self.name)
        report.notes["int8"] = 0
        stored = stored_linears(program)
        for node in program.graph.nodes:
            if node.target is _LINEAR and node not in stored:
                report.skipped.append(Skipped(node.name, _reason(program, node)))
        rounded: dict[Node, Node] = {}
        for number, node in enumerate(stored):
            weight_NK, _ = stored_weights(program, node)
            grid = INT8 if is_kept(node) else grid_of(INT4, weight_NK)
            x = node.args[0]
            if x not in rounded:
                with program.graph.inserting_before(node):
                    rounded[x] = _rounded_rows(program, x)
            weight = _weight(program, node, grid, weight_NK, number)
            node.args = (rounded[x], weight, *node.args[2:])
            report.changes += 1
            report.notes["int8"] += grid is INT8
        return finish(program), report

    def holds(self, program: ExportedProgram) -> str | None:
        left = stored_linears(program)
        return f"`{left[0].name}` still has an fp32 weight" if left else None


def _reason(program: ExportedProgram, node: Node) -> str:
    weight = constant_tensor(program, node.args[1])
    if weight is None:
        return "its weight is an input or computed, not stored"
    if weight.dtype != torch.float32:
        return f"its weight is {weight.dtype}"
    bias = node.args[2] if len(node.args) > 2 else None
    if bias is not None and constant_tensor(program, bias) is None:
        return "its bias is an input or computed, not stored"
    return "it gives the logits, and stays in fp32"


def _rounded_rows(program: ExportedProgram, x: Node) -> Node:
    """8 bits a row, chosen at run time. torchao's operators give the same bytes in twice the time of lowering."""
    graph = program.graph
    chosen = call(graph, _ROWS.choose_qparams_per_token_asymmetric.default, (x, torch.int8))
    scales, zeros = (call(graph, operator.getitem, (chosen, place)) for place in (0, 1))
    limits = (-128, 127, torch.int8)
    integers = call(graph, _ROWS.quantize_per_token.default, (x, scales, zeros, *limits))
    return call(graph, _ROWS.dequantize_per_token.default, (integers, scales, zeros, *limits, torch.float32))


def _weight(program: ExportedProgram, node: Node, grid: WeightGrid, weight_NK: torch.Tensor, number: int) -> Node:
    integers_NK, scales_NG = grid.quantize(weight_NK)
    zeros_NG = torch.zeros(scales_NG.shape, dtype=torch.int8)
    tensors = {"integers": integers_NK, "scales": scales_NG, "zeros": zeros_NG}
    constants = [add_constant(program, f"linear_{number}_{name}", tensor) for name, tensor in tensors.items()]
    block = [1, integers_NK.shape[1] // scales_NG.shape[1]]
    limits = (torch.int8, grid.lowest, grid.highest)
    with program.graph.inserting_before(node):
        return call(program.graph, torch.ops.torchao.dequantize_affine.default,
                    (constants[0], block, *constants[1:], *limits))  # fmt: skip
