"""One program for many tasks: from a model to the tensors of its task, and to a program that takes them as inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch.export import Dim, ExportedProgram

from spartanc.base.schemes.scheme import Scheme, TaskSizes
from spartanc.compiler.backbone import backbone_constants
from spartanc.compiler.capture import example_inputs
from spartanc.compiler.lifted import LiftedTask, ProgramInput
from spartanc.compiler.stage import Artifact, Captured, Stage
from spartanc.compiler.steps import LIFT
from spartanc.errors import CompileError
from spartanc.models.checkpoint import TrainedModel
from spartanc.passes.lift_task_tensors import Lifted, TaskTensor, lift_task_tensors
from spartanc.runtime_py.task_file import sizes_of

# Of memories that are written out in stock operators: {input: {dimension: word of `task_file.sizes_of`}}.
_OPEN_SIZES: TaskSizes = {
    "parents": {0: "parents"},
    "keys": {0: "parents", 1: "children"},
    "values": {0: "parents", 1: "children"},
    "before": {0: "parents", 1: "parents"},
}
# A task with which the program is captured: every size differs from 1 and from the others, so none is taken for a
# constant or for another.
_EXAMPLE_LENGTH = 8
_EXAMPLE_PARENTS, _EXAMPLE_CELLS, _EXAMPLE_TOP_K, _EXAMPLE_CLASSES = 35, 140, 2, 7


class LiftTask(Stage):
    """The tensors of a model's task become inputs of its program."""

    name = LIFT

    def __init__(self, model: TrainedModel, scheme: Scheme, *, stock: bool):
        """scheme: of the tensors; stock: whether memories are written out in stock operators."""
        self._model = model
        self._sizes = _OPEN_SIZES if stock else scheme.task_sizes
        self._half = not stock and not scheme.is_exact
        self._stock = stock

    def run(self, artifact: Artifact) -> Artifact:
        model = self._model
        constants = backbone_constants(model)
        lifted = lift_task_tensors(artifact.program, list(model.task_tensors()), constants, half=self._half)
        sizes = task_sizes(model)
        words = sizes_of(sizes["parents"], sizes["cells"], sizes["classes"])
        inputs = tuple(
            ProgramInput(each.name, each.value.dtype, self._shape(each, lifted, words)) for each in lifted.tensors
        )
        bounds = {word: (1, size) for word, size in sizes.items()}
        promises = {} if self._stock else artifact.promises  # the operators are other ones
        return replace(artifact, task=LiftedTask(lifted, inputs, bounds), promises=promises)

    def _shape(self, tensor: TaskTensor, lifted: Lifted, sizes: Mapping[str, int]) -> tuple[int | str, ...]:
        shape: list[int | str] = list(tensor.value.shape)
        for dimension, word in _words(tensor.name, lifted, self._sizes).items():
            if shape[dimension] != sizes[word]:
                raise CompileError(f"`{tensor.name}` is {shape}: its size {dimension} should be {sizes[word]} ({word})")
            shape[dimension] = word
        return tuple(shape)


class CaptureShared(Stage):
    """The one program that takes every task within the bounds, captured with a made-up task of another size."""

    name = "capture with task tensors as inputs"

    def __init__(self, max_length: int):
        self._max_length = max_length

    def run(self, artifact: Artifact) -> Artifact:
        task = artifact.task
        assert task is not None
        length = Dim("length", min=artifact.min_length, max=self._max_length)
        shapes = _dynamic_shapes(task.inputs, task.bounds, length)
        inputs = (*example_inputs(min(self._max_length, _EXAMPLE_LENGTH)), *_example_tensors(task.inputs))
        program = _export(task.lifted.module, inputs, shapes)
        rows = [tuple(each.numpy() for each in inputs)]
        return replace(artifact, captured=Captured(program, inputs, shapes), rows=rows)


def task_sizes(model: TrainedModel) -> dict[str, int]:
    """The sizes of a model's task that tasks of a shared program may differ in."""
    outputs = model.task_type.outputs(model.labels)
    return {"parents": model.spartan.parents, "cells": model.spartan.cells, "classes": outputs}


def _export(module: torch.nn.Module, inputs: tuple, shapes: tuple) -> ExportedProgram:
    try:
        with torch.no_grad():
            return torch.export.export(module, inputs, dynamic_shapes=shapes, strict=False).run_decompositions({})
    except Exception as error:
        raise CompileError(
            f"torch.export could not capture the program with task tensors as inputs: {error}"
        ) from error


def _words(name: str, lifted: Lifted, roles: TaskSizes) -> Mapping[int, str]:
    if name in lifted.class_tensors:
        return {0: "classes"}
    if not name.startswith("memories."):
        return {}
    return roles.get(name.rpartition(".")[2], {})


def _dynamic_shapes(
    inputs: tuple[ProgramInput, ...], bounds: dict[str, tuple[int, int]], length: Dim
) -> tuple[dict[int, Dim], ...]:
    (_, parents), (_, cells), (_, classes) = (bounds[name] for name in ("parents", "cells", "classes"))
    most = sizes_of(parents, cells, classes) | {"children": cells}
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
