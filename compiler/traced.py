"""A program that also tells what went into and came out of every memory, so that its layers can be compared.

before:  program(input_ids, attention_mask) -> logits [1, C]
after:   program(input_ids, attention_mask) -> [1, C + ...]: the logits, then for every memory in turn its input x and
         the layer's output (x + lookup(x), with the LayerNorm that follows), flat

One flat output goes through every runtime and device as logits do. Whatever comes after the trace (quantising, packing,
lowering) treats the traced program as it treats the plain one: what is recorded was there already, and is now read once
more. Where only the pooled position of the last layer is computed, only that is recorded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import Node

from spartanc.compiler.samples import Row
from spartanc.models.classifier import SpartanClassifier
from spartanc.passes.memory_site import memory_sites
from spartanc.passes.program import copy_program, finish
from spartanc.passes.protocol import PassReport
from spartanc.passes.rewrite import aten, call, shape_of


@dataclass(frozen=True)
class LayerTrace:
    """What one memory took and what its layer gave: each float32 [P, H], P the positions that were recorded."""

    taken_PH: np.ndarray
    given_PH: np.ndarray


@dataclass(frozen=True)
class TraceLayout:
    """Where things stand in the flat output. positions: recorded at every memory, None for all of a row's."""

    classes: int
    hidden: int
    positions: tuple[int | None, ...]

    def logits(self, flat: np.ndarray) -> np.ndarray:
        return flat[: self.classes]

    def layers(self, flat: np.ndarray, length: int) -> Iterator[LayerTrace]:
        """Every memory's trace out of the flat output of a row of `length` tokens."""
        start = self.classes
        for count in self.positions:
            size = (length if count is None else count) * self.hidden
            taken, given = (flat[start + i * size : start + (i + 1) * size].reshape(-1, self.hidden) for i in (0, 1))
            yield LayerTrace(taken, given)
            start += 2 * size
        if start != len(flat):
            raise AssertionError(f"a trace of {len(flat)} values, {start} expected for {length} tokens")


def trace_memories(program: ExportedProgram) -> tuple[ExportedProgram, TraceLayout]:
    """`program`, whose memories are fused and not packed yet, with their traces behind its logits."""
    program = copy_program(program)
    sites = memory_sites(program, PassReport("trace"))
    output = program.graph.output_node()
    (logits,) = output.args[0]
    recorded: list[Node] = []
    for site in sites:
        recorded += [site.lookup.args[0], site.norm or site.residual or site.lookup]
    with program.graph.inserting_before(output):
        flat = [call(program.graph, aten.view.default, (node, [1, -1])) for node in recorded]
        whole = call(program.graph, aten.cat.default, ([logits, *flat], 1))
    output.args = ((whole,),)
    (spec,) = program.graph_signature.output_specs
    spec.arg.name = whole.name
    sizes = [shape_of(site.lookup.args[0])[1] for site in sites]
    layout = TraceLayout(
        classes=shape_of(logits)[1],
        hidden=shape_of(recorded[0])[2],
        positions=tuple(size if isinstance(size, int) else None for size in sizes),
    )
    return finish(program), layout


def eager_trace(module: SpartanClassifier, row: Row) -> tuple[np.ndarray, list[LayerTrace]]:
    """Logits [C] of fp32 eager PyTorch for one row, and the trace of every memory at all positions."""
    seen: list[LayerTrace] = []

    def record(_module: torch.nn.Module, args: tuple[Tensor, ...], out: Tensor) -> None:
        seen.append(LayerTrace(args[0][0].numpy(), out[0].numpy()))

    handles = [memory.register_forward_hook(record) for memory in module.memories()]
    try:
        with torch.inference_mode():
            logits = module(torch.from_numpy(row[0]), torch.from_numpy(row[1]))[0].numpy()
    finally:
        for handle in handles:
            handle.remove()
    return logits, seen
