"""Embedding tables in int8, with a scale per row.

before:  embedding(table_fp32[V, H], ids)
after:   quantized_decomposed.embedding_byte.dtype(table_int8[V, H], scale[V], None, -128, 127, ids) -> fp32
stock:   embedding(table_int8[V, H], ids).to(fp32) * embedding(scale[V, 1], ids)

The first needs ExecuTorch's quantised kernels, the second only what every runtime carries, at the price of two
small copies of the rows. A row is scaled so that its largest value becomes 127: an element moves by at most
max|row| / 254. Left alone, with the reason: a table that is computed rather than stored, or that has few rows: what
two segments round to would be added to every token, the same error everywhere, to save 3 KB.
"""

from __future__ import annotations

import torch
from torch.export import ExportedProgram
from torch.fx import Node

from spartanc.passes.program import add_constant, constant_tensor, copy_program, finish
from spartanc.passes.properties import Property
from spartanc.passes.protocol import GraphPass, PassReport, Skipped

LOWEST, HIGHEST = -128, 127
FEW_ROWS = 16  # a table of so many stays in fp32
_EMBEDDING = torch.ops.aten.embedding.default
_EMBEDDING_INT8 = torch.ops.quantized_decomposed.embedding_byte.dtype


class QuantizeEmbeddings(GraphPass):
    name = "quantize_embeddings"
    provides = frozenset({Property.INT8_EMBEDDINGS})
    tolerance = float("inf")  # judged end to end: by labels and accuracy, never by logits

    def __init__(self, stock: bool = False):
        self.stock = stock

    def run(self, program: ExportedProgram) -> tuple[ExportedProgram, PassReport]:
        program, report = copy_program(program), PassReport(self.name)
        for node in list(program.graph.nodes):
            if node.target is not _EMBEDDING:
                continue
            table, ids = node.args[0], node.args[1]
            weight_VH = constant_tensor(program, table)
            if weight_VH is not None and weight_VH.dtype != torch.float32:
                continue
            if weight_VH is None:
                report.skipped.append(Skipped(node.name, "the table is computed, not stored"))
                continue
            if len(weight_VH) <= FEW_ROWS:
                report.skipped.append(Skipped(node.name, f"the table has {len(weight_VH)} rows"))
                continue
            self._replace(program, node, weight_VH, ids)
            report.changes += 1
        return finish(program), report

    def holds(self, program: ExportedProgram) -> str | None:
        left = [
            node.name
            for node in program.graph.nodes
            if node.target is _EMBEDDING and _is_fp32_table(program, node.args[0])
        ]
        return f"`{left[0]}` still reads an fp32 table" if left else None

    def _replace(self, program: ExportedProgram, node: Node, weight_VH: torch.Tensor, ids: Node) -> None:
        rows_VH, scale_V = quantize_rows(weight_VH)
        table = add_constant(program, f"{node.name}_table_int8", rows_VH)
        graph = program.graph
        if not self.stock:
            scale = add_constant(program, f"{node.name}_scale", scale_V)
            with graph.inserting_before(node):
                arguments = (table, scale, None, LOWEST, HIGHEST, ids)
                lookup = graph.call_function(_EMBEDDING_INT8, arguments, {"dtype": torch.float32})
        else:
            scale = add_constant(program, f"{node.name}_scale", scale_V[:, None])
            with graph.inserting_before(node):
                rows = _copy_value(graph.call_function(_EMBEDDING, (table, ids)), node, torch.int8)
                wide = graph.call_function(torch.ops.aten._to_copy.default, (rows,), {"dtype": torch.float32})
                steps = graph.call_function(_EMBEDDING, (scale, ids))
                steps.meta["val"] = node.meta["val"][..., :1]
                lookup = graph.call_function(torch.ops.aten.mul.Tensor, (_copy_value(wide, node), steps))
        lookup.meta.update(node.meta)
        node.replace_all_uses_with(lookup)
        program.graph.erase_node(node)


def _is_fp32_table(program: ExportedProgram, table: Node) -> bool:
    tensor = constant_tensor(program, table)
    return tensor is not None and tensor.dtype == torch.float32 and tensor.shape[1] > 1 and len(tensor) > FEW_ROWS


def _copy_value(made: Node, source: Node, dtype: torch.dtype | None = None) -> Node:
    made.meta["val"] = source.meta["val"] if dtype is None else source.meta["val"].to(dtype)
    return made


def quantize_rows(weight_VH: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """int8 rows [V, H] and fp32 scales [V] with rows * scales close to `weight_VH`; a row of zeros keeps scale 1."""
    largest_V = weight_VH.detach().float().abs().amax(dim=1)
    scale_V = torch.where(largest_V > 0, largest_V / HIGHEST, torch.ones_like(largest_V))
    return (weight_VH.detach() / scale_V[:, None]).round().clamp(LOWEST, HIGHEST).to(torch.int8), scale_V
