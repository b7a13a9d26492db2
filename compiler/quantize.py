"""Quantisation of the backbone for XNNPACK: int8 weights per channel, activations per row at run time.

Linears only, but for the one that gives the logits. LayerNorm, softmax and pooling stay in fp32; memories and
embeddings have passes of their own.
The converted program is *not* a reference for the lowered one: here activations are rounded per tensor, in XNNPACK
per row. Judge a quantised program against fp32 eager.
"""

from __future__ import annotations

import torch
from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
    XNNPACKQuantizer,
    get_symmetric_quantization_config,
)
from torch.export import Dim, ExportedProgram
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

from spartanc.compiler.capture import dynamic_shapes, example_inputs
from spartanc.errors import CompileError
from spartanc.passes.keep_linears import is_kept
from spartanc.passes.last_linear import gives_the_logits


class _LinearsOnly(XNNPACKQuantizer):
    """XNNPACK's quantizer without its rewrite of scalars, which turns the integers of masks and positions to floats."""

    def transform_for_annotation(self, model: torch.fx.GraphModule) -> torch.fx.GraphModule:
        return model


def quantize_backbone(program: ExportedProgram, max_length: int) -> ExportedProgram:
    """Every linear of `program` but the last in int8; the same signature, the same length up to `max_length`."""
    return quantize_linears(program, example_inputs(min(max_length, 8)), dynamic_shapes(max_length))


def quantize_linears(
    program: ExportedProgram, inputs: tuple[torch.Tensor, ...], shapes: tuple[dict[int, Dim], ...]
) -> ExportedProgram:
    """Every linear with stored weights but the last in int8; one whose weight is an input stays as it is.

    inputs and shapes: what the program was captured with.
    """
    quantizer = _LinearsOnly().set_global(get_symmetric_quantization_config(is_per_channel=True, is_dynamic=True))
    quantizer.set_filter_function(_may_be_quantized)
    try:
        with torch.no_grad():
            prepared = prepare_pt2e(program.module(), quantizer)
            prepared(*inputs)  # observes the weights; activations are measured at run time, row by row
            converted = convert_pt2e(prepared)
            again = torch.export.export(converted, inputs, dynamic_shapes=shapes, strict=False)
    except Exception as error:
        raise CompileError(f"the backbone could not be quantised to int8: {error}") from error
    return again.run_decompositions({})


def _may_be_quantized(node: torch.fx.Node) -> bool:
    if node.target is not torch.ops.aten.linear.default:
        return True
    stored = all(each.op == "get_attr" for each in node.args[1:] if isinstance(each, torch.fx.Node))
    return stored and not is_kept(node) and not gives_the_logits(node)
