"""The classifier's square layers in int8, where a task brings them as inputs.

before:  linear(x, weight_fp32[H, H], bias)                       weight of the task, not the one that gives the logits
after:   mixed_linear(x, weight_int8[H, H], scale[H]) + bias      ExecuTorch's operator: fp32 rows times int8 weights

A linear with its weight as an input can't go to XNNPACK, and in fp32 a square layer is larger than all memories of a
task together. Rows of the weight are scaled one by one: an element moves by at most max|row| / 254.

Left alone, with the reason: the linear that gives the logits, whose size is the number of classes; inputs of more than
two dimensions, which the operator does not take.
"""

from __future__ import annotations

import re
from collections.abc import Collection

import torch
from torch.export import ExportedProgram
from torch.fx import Node

from spartanc.passes.program import add_constant, constant_tensor, copy_program, finish
from spartanc.passes.properties import Property
from spartanc.passes.protocol import GraphPass, PassReport, Skipped
from spartanc.passes.quantize_embeddings import quantize_rows

DERIVED = re.compile(r"head_(\d+)_(\w+)")  # what the new constants are called
_LINEAR = torch.ops.aten.linear.default
_MIXED = torch.ops.quantized_decomposed.mixed_linear.default


class QuantizeHead(GraphPass):
    name = "quantize_head"
    provides = frozenset({Property.INT8_HEAD})
    tolerance = float("inf")  # judged end to end: by labels and accuracy, never by logits

    def __init__(self, task_names: Collection[str]):
        self._task_names = set(task_names)

    def run(self, program: ExportedProgram) -> tuple[ExportedProgram, PassReport]:
        program, report = copy_program(program), PassReport(self.name)
        targets = {spec.arg.name: spec.target for spec in program.graph_signature.input_specs}
        linears = [
            node
            for node in program.graph.nodes
            if node.target is _LINEAR and targets.get(node.args[1].name) in self._task_names
        ]
        for number, node in enumerate(linears):
            if node is linears[-1]:
                report.skipped.append(Skipped(node.name, "it gives the logits: its size is the number of classes"))
            elif node.meta["val"].dim() != 2:
                report.skipped.append(Skipped(node.name, "its input has more than two dimensions"))
            else:
                self._replace(program, node, number)
                report.changes += 1
        return finish(program), report

    def _replace(self, program: ExportedProgram, node: Node, number: int) -> None:
        x, weight, bias = node.args[0], node.args[1], node.args[2] if len(node.args) > 2 else None
        rows, scale = quantize_rows(constant_tensor(program, weight))
        arguments = (
            x,
            add_constant(program, f"head_{number}_weight", rows),
            add_constant(program, f"head_{number}_scale", scale),
            None,
        )
        with program.graph.inserting_before(node):
            result = program.graph.call_function(_MIXED, arguments)
            result.meta.update(node.meta)
            if bias is not None:
                result = program.graph.call_function(torch.ops.aten.add.Tensor, (result, bias))
                result.meta.update(node.meta)
        node.replace_all_uses_with(result)
        program.graph.erase_node(node)
