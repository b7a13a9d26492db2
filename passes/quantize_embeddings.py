"""Embedding tables in 8 or 4 bits.

before:  embedding(table_fp32[V, H], ids)
8 bits:  quantized_decomposed.embedding_byte.dtype(table_int8[V, H], scale[V], None, -128, 127, ids) -> fp32
4 bits:  quantized_decomposed.embedding_4bit.dtype(pairs[V, H / 2], scales_fp16[V, H / 32], None, -8, 7, ids) -> fp32
stock:   embedding(table_int8[V, H], ids).to(fp32) * embedding(scale[V, 1], ids)

The first two need ExecuTorch's quantised kernels, the third only what every runtime carries, at the price of two small
copies of the rows. In 8 bits a row is scaled so that its largest value becomes 127: an element moves by at most
max|row| / 254. In 4 bits every 32 of a row have a scale (`weight_grids`), in half precision, or in fp32 where a table's
numbers are beyond that; a table whose width groups do not divide gets 8 bits.

Left alone, with the reason: a table that is computed rather than stored, or that has few rows: what two segments round
to would be added to every token, the same error everywhere, to save 3 KB.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch.export import ExportedProgram
from torch.fx import Node

from spartanc.passes.program import add_constant, constant_tensor, copy_program, finish
from spartanc.passes.properties import Property
from spartanc.passes.protocol import GraphPass, PassReport, Skipped
from spartanc.passes.weight_grids import INT4

LOWEST, HIGHEST = -128, 127
FEW_ROWS = 16  # a table of so many stays in fp32
_EMBEDDING = torch.ops.aten.embedding.default
_EMBEDDING_INT8 = torch.ops.quantized_decomposed.embedding_byte.dtype
_EMBEDDING_INT4 = torch.ops.quantized_decomposed.embedding_4bit.dtype
HALF = replace(INT4, scale_type=torch.float16)  # 4 bits, with the scales that ExecuTorch's operator reads
_HALF_HOLDS = (2.0**-8, 2.0**15)  # largest values of tables whose scales fp16 holds well


class QuantizeEmbeddings(GraphPass):
    name = "quantize_embeddings"
    provides = frozenset({Property.EMBEDDINGS_QUANTIZED})
    tolerance = float("inf")  # judged end to end: by labels and accuracy, never by logits

    def __init__(self, stock: bool = False, bits: int = 8):
        self.stock = stock
        self.bits = bits

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
        if self.bits == 4 and HALF.takes(weight_VH):
            return self._replace_by_pairs(program, node, weight_VH, ids)
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
        _take_place(lookup, node)

    def _replace_by_pairs(self, program: ExportedProgram, node: Node, weight_VH: torch.Tensor, ids: Node) -> None:
        integers_VH, scales_VG = quantize_groups(weight_VH)
        pairs = add_constant(program, f"{node.name}_table_int4", pack_pairs(integers_VH))
        scales = add_constant(program, f"{node.name}_scales", scales_VG)
        with program.graph.inserting_before(node):
            arguments = (pairs, scales, None, HALF.lowest, HALF.highest, ids)
            lookup = program.graph.call_function(_EMBEDDING_INT4, arguments, {"dtype": torch.float32})
        _take_place(lookup, node)


def _take_place(made: Node, node: Node) -> None:
    made.meta.update(node.meta)
    node.replace_all_uses_with(made)
    node.graph.erase_node(node)


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


def quantize_groups(weight_VH: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """int8 rows [V, H] within -8 to 7, and scales [V, H / 32] in fp16, in fp32 where the table's values need it."""
    half_holds = _HALF_HOLDS[0] <= weight_VH.detach().abs().max() <= _HALF_HOLDS[1]
    grid = HALF if half_holds else replace(HALF, scale_type=torch.float32)
    integers_VH, scales_VG = grid.quantize(weight_VH)
    return integers_VH, scales_VG.to(grid.scale_type)


def pack_pairs(integers_VH: torch.Tensor) -> torch.Tensor:
    """uint8 [V, H / 2] of integers from -8 to 7: even places in the high half of a byte, odd ones in the low half."""
    nibbles_VH = (integers_VH + 8).to(torch.uint8)
    return nibbles_VH[:, ::2] << 4 | nibbles_VH[:, 1::2]


def rounded_table(weight_VH: torch.Tensor, bits: int) -> torch.Tensor:
    """A table in fp32 as programs read it from 8 or 4 bits."""
    if bits == 4 and HALF.takes(weight_VH):
        integers_VH, scales_VG = quantize_groups(weight_VH)
        return (HALF.grouped(integers_VH) * scales_VG.float().unsqueeze(2)).flatten(1)
    rows_VH, scale_V = quantize_rows(weight_VH)
    return rows_VH * scale_V[:, None]
