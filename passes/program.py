"""What passes need of an ExportedProgram beyond its graph: a copy to work on, and its constants.

Parameters, buffers and lifted tensors are all constants here: a compiled program trains nothing.
"""

from __future__ import annotations

import copy
import dataclasses

import torch
from executorch.backends.transforms.utils import create_constant_placeholder
from torch.export import ExportedProgram
from torch.export.graph_signature import ExportGraphSignature, InputKind
from torch.fx import Graph, GraphModule, Node

PLAIN = "plain_"  # begins the names of buffers that come from no tensor of the model
_CONSTANT_KINDS = (InputKind.PARAMETER, InputKind.BUFFER, InputKind.CONSTANT_TENSOR)


def copy_program(program: ExportedProgram) -> ExportedProgram:
    """A program with its own graph, signature and state; the tensors themselves are shared, so never write to them."""
    graph = copy.deepcopy(program.graph_module.graph)
    for mine, copied in zip(program.graph_module.graph.nodes, graph.nodes, strict=True):
        copied.name = mine.name  # a copy renames what is called like a builtin: `input`
    graph_module = GraphModule(program.graph_module, graph)
    graph_module.meta.update(program.graph_module.meta)
    return program._update(
        graph_module,
        copy.deepcopy(program.graph_signature),
        state_dict=dict(program.state_dict),
        constants=dict(program.constants),
    )


def functional(program: ExportedProgram) -> ExportedProgram:
    """`program` in ATen's functional operators, as passes expect it: as torch.export leaves it, it may write in place.

    One that is functional already is given back as it is: tracing it anew costs seconds and changes nothing.
    """
    if program.dialect != "TRAINING":
        return program
    with torch.no_grad():
        return program.run_decompositions({})


def constant_tensor(program: ExportedProgram, node: Node) -> torch.Tensor | None:
    """The tensor that a placeholder stands for, or None where `node` is no constant of the program."""
    if node.op != "placeholder":
        return None
    for spec in program.graph_signature.input_specs:
        if getattr(spec.arg, "name", None) == node.name and spec.kind in _CONSTANT_KINDS and spec.target is not None:
            found = program.state_dict.get(spec.target)
            return program.constants.get(spec.target) if found is None else found
    return None


def add_constant(program: ExportedProgram, name: str, tensor: torch.Tensor, kind: InputKind = InputKind.BUFFER) -> Node:
    """A new constant of `program` holding `tensor`, as a placeholder before its first one.

    A pass that works the backbone's own constants into others makes them of kind CONSTANT_TENSOR: in a shared program
    these are the backbone's by their bytes, where others are by their names. Where XNNPACK takes a buffer alone, a name
    that begins with PLAIN says the same. The same tensor under the same name is there once; ValueError for another one,
    which would take the first one's place.
    """
    placeholders = [node for node in program.graph.nodes if node.op == "placeholder"]
    taken = next((spec for spec in program.graph_signature.input_specs if spec.target == name), None)
    if taken is not None:
        held = next(node for node in placeholders if node.name == taken.arg.name)
        if _is_same(constant_tensor(program, held), tensor):
            return held
        raise ValueError(f"there is another constant `{name}` already")
    with program.graph.inserting_before(placeholders[0]):
        return create_constant_placeholder(
            program,
            program.graph,
            name,
            kind,
            tensor.detach().contiguous(),
            persistent_buffer=True,
        )


def _is_same(held: torch.Tensor | None, tensor: torch.Tensor) -> bool:
    return held is not None and held.dtype == tensor.dtype and torch.equal(held, tensor)


def finish(program: ExportedProgram) -> ExportedProgram:
    """Remove dead nodes and the constants that nothing reads any more; recompile and check the graph."""
    program.graph.eliminate_dead_code()
    signature = program.graph_signature
    name_outputs(signature, program.graph)
    for node in [node for node in program.graph.nodes if node.op == "placeholder" and not node.users]:
        spec = next(spec for spec in signature.input_specs if getattr(spec.arg, "name", None) == node.name)
        if spec.kind not in _CONSTANT_KINDS:
            continue
        signature.input_specs.remove(spec)
        if not any(other.target == spec.target for other in signature.input_specs):
            program.state_dict.pop(spec.target, None)
            program.constants.pop(spec.target, None)
        program.graph.erase_node(node)
    program.graph.lint()
    program.graph_module.recompile()
    return program


def name_outputs(signature: ExportGraphSignature, graph: Graph) -> None:
    """Let the signature name outputs by the nodes that now are in their place."""
    for spec, value in zip(signature.output_specs, graph.output_node().args[0], strict=True):
        if isinstance(value, Node):
            spec.arg = dataclasses.replace(spec.arg, name=value.name)
