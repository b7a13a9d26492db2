"""One program for many tasks: from a model to the tensors of its task, and to a program that takes them as inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.export import Dim, ExportedProgram

from spartanc.compiler.backbone import backbone_constants
from spartanc.compiler.capture import capture, example_inputs
from spartanc.compiler.lower import Lowered, lower
from spartanc.compiler.quantize import quantize_linears
from spartanc.compiler.samples import Row
from spartanc.errors import CompileError
from spartanc.models.checkpoint import TrainedModel
from spartanc.passes import shared_backbone_passes, shared_passes
from spartanc.passes.lift_task_tensors import Lifted, lift_task_tensors
from spartanc.passes.manager import run_passes
from spartanc.passes.protocol import PassReport
from spartanc.runtime_py.task_file import sizes_of

# The sizes that tasks may differ in, by the argument of the memory that an input is: {dimension: word}. What the words
# stand for says `task_file.sizes_of`.
_PACKED_SIZES = {
    "none": {"logit_weights": {0: "blocks"}, "values": {1: "cells"}},
    "int8": {
        "logit_weights": {0: "parent_blocks"},
        "key_cells": {0: "cell_blocks"},
        "key_scales": {0: "cell_columns"},
        "value_cells": {1: "cell_blocks"},
        "value_scales": {0: "cell_columns"},
    },
    "int4": {
        "logit_weights": {0: "parent_blocks"},
        "key_cells": {0: "cell_blocks"},
        "key_scales": {0: "cell_blocks"},
        "value_cells": {1: "cell_blocks"},
        "value_scales": {0: "cell_columns"},
    },
}
_OPEN_SIZES = {
    "parents": {0: "parents"},
    "keys": {0: "parents", 1: "children"},
    "values": {0: "parents", 1: "children"},
    "before": {0: "parents", 1: "parents"},
}
# A task with which the program is captured: every size differs from 1 and from the others, so none is taken for a
# constant or for another.
_EXAMPLE_LENGTH = 8
_EXAMPLE_PARENTS, _EXAMPLE_CELLS, _EXAMPLE_TOP_K, _EXAMPLE_CLASSES = 35, 140, 2, 7


@dataclass(frozen=True)
class ProgramInput:
    """One task tensor as the program takes it; a size is a number or a word of `task_file.sizes_of`."""

    name: str
    dtype: torch.dtype
    shape: tuple[int | str, ...]


@dataclass(frozen=True)
class TaskProgram:
    """What one model brings: its task's tensors, and the program that takes them."""

    lifted: Lifted
    inputs: tuple[ProgramInput, ...]
    reports: list[PassReport]

    @property
    def tensors(self) -> dict[str, np.ndarray]:
        return {each.name: each.value.numpy() for each in self.lifted.tensors}


def task_program(
    model: TrainedModel, lowering: str, quantization: str, max_length: int, rows: Sequence[Row]
) -> TaskProgram:
    """Capture `model`, run the passes, and lift its task's tensors; passes are checked on `rows`."""
    task_names = list(model.task_tensors())
    half = lowering == "fused" and quantization != "none"
    program = capture(model.module, max_length)
    program, reports = run_passes(program, shared_passes(lowering, quantization, task_names), rows)
    lifted = lift_task_tensors(program, task_names, backbone_constants(model), half=half)
    sizes = sizes_of(model.spartan.parents, model.spartan.cells, max(len(model.labels), 1))
    inputs = []
    for tensor in lifted.tensors:
        words = _words(tensor.name, lifted, _OPEN_SIZES if lowering == "portable" else _PACKED_SIZES[quantization])
        shape: list[int | str] = list(tensor.value.shape)
        for dimension, word in words.items():
            if shape[dimension] != sizes[word]:
                raise CompileError(f"`{tensor.name}` is {shape}: its size {dimension} should be {sizes[word]} ({word})")
            shape[dimension] = word
        inputs.append(ProgramInput(tensor.name, tensor.value.dtype, tuple(shape)))
    return TaskProgram(lifted, tuple(inputs), reports)


def build_program(
    task: TaskProgram,
    bounds: dict[str, tuple[int, int]],
    lowering: str,
    quantization: str,
    max_length: int,
    linears: str = "xnnpack",
) -> tuple[Lowered, list[PassReport]]:
    """Lower the one program that takes every task within `bounds`; `linears` says whose int8 kernels it gets."""
    shapes = _dynamic_shapes(task.inputs, bounds, max_length)
    inputs = (*example_inputs(_EXAMPLE_LENGTH if max_length >= _EXAMPLE_LENGTH else 2), *_example_tensors(task.inputs))
    program = _export(task.lifted.module, inputs, shapes)
    if quantization != "none" and linears == "xnnpack":
        program = quantize_linears(program, inputs, shapes)
    example = tuple(each.numpy() for each in inputs)
    program, reports = run_passes(program, shared_backbone_passes(lowering, quantization, linears), [example])
    return lower(program, inputs_in_place=True), reports


def _export(module: torch.nn.Module, inputs: tuple, shapes: tuple) -> ExportedProgram:
    try:
        with torch.no_grad():
            return torch.export.export(module, inputs, dynamic_shapes=shapes, strict=False).run_decompositions({})
    except Exception as error:
        raise CompileError(
            f"torch.export could not capture the program with task tensors as inputs: {error}"
        ) from error


def _words(name: str, lifted: Lifted, roles: dict[str, dict[int, str]]) -> dict[int, str]:
    if name in lifted.class_tensors:
        return {0: "classes"}
    if not name.startswith("memories."):
        return {}
    return roles.get(name.rpartition(".")[2], {})


def _dynamic_shapes(
    inputs: tuple[ProgramInput, ...], bounds: dict[str, tuple[int, int]], max_length: int
) -> tuple[dict[int, Dim], ...]:
    (_, parents), (_, cells), (_, classes) = (bounds[name] for name in ("parents", "cells", "classes"))
    most = sizes_of(parents, cells, classes) | {"children": cells}
    length = Dim("length", min=1, max=max_length)
    dims = {word: Dim(word, min=1, max=largest) for word, largest in most.items()}
    tasks = ({i: dims[size] for i, size in enumerate(each.shape) if isinstance(size, str)} for each in inputs)
    return ({1: length}, {1: length}, *tasks)


def _example_tensors(inputs: tuple[ProgramInput, ...]) -> list[torch.Tensor]:
    sizes = sizes_of(_EXAMPLE_PARENTS, _EXAMPLE_CELLS, _EXAMPLE_CLASSES)
    generator = torch.Generator().manual_seed(0)
    tensors = []
    for each in inputs:
        shape = [sizes[size] if isinstance(size, str) else size for size in each.shape]
        if each.name.endswith(".layout"):
            tensors.append(torch.tensor([_EXAMPLE_PARENTS, _EXAMPLE_CELLS, _EXAMPLE_TOP_K]))
        elif each.dtype.is_floating_point:
            tensors.append(torch.rand(shape, generator=generator, dtype=each.dtype))
        else:
            tensors.append(torch.ones(shape, dtype=each.dtype))
    return tensors
