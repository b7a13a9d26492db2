"""A task's tensors become inputs, so that one program serves every task over one backbone.

before:  program(input_ids, attention_mask), with memories, LayerNorms and classifier as constants
after:   module(input_ids, attention_mask, *task tensors), the backbone's constants alone inside

The module is plain torch.fx and is captured again, with the sizes that tasks may differ in as dynamic dimensions.
Inputs are ordered so that a file that holds them one after the other, in their order and without a gap, has every one
of them aligned: first what the kernels read in blocks of whole cache lines, then the rest, widest elements first.

Names: a parameter keeps its qualified name; what a pass derived from a memory is `memories.N.ROLE`, N counting
memories from the input on and ROLE the argument of the operator that reads it. A memory that no pass has packed becomes
the stock operators of `open_memory`, which need nothing of it but inputs.

With `half`, parents come in as fp16 and are widened before their use: they would be a third of an int8 task's file.
`QuantizeMemories` rounded them so already, so nothing is lost here. Everything else comes in as it is: LayerNorms are
two dozen small tensors, whose widening would cost a short text more time than their bytes are worth, and the last layer
gives the logits of the task's own bundle only if it is not rounded.

Refused, with the constant's name: a constant that is neither the backbone's nor comes from a memory.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind
from torch.fx import Graph, GraphModule, Node
from torch.fx.node import map_arg

from spartanc.errors import CompileError, UnsupportedModelError
from spartanc.passes.open_memory import open_memory, open_tensors
from spartanc.passes.ops.define import NAMESPACE
from spartanc.passes.program import PLAIN, constant_tensor
from spartanc.passes.quantize_head import DERIVED as DERIVED_HEAD

_BLOCKS = frozenset({"logit_weights", "values", "key_cells", "value_cells"})
_WIDEN = torch.ops.spartan.widen.default
_LOOKUP = torch.ops.spartan.memory_lookup.default


@dataclass(frozen=True)
class TaskTensor:
    """One input that follows ids and mask."""

    name: str
    value: torch.Tensor


@dataclass(frozen=True)
class Lifted:
    """`module(input_ids, attention_mask, *(t.value for t in tensors))` computes what the program did.

    computation: a line for every operation, free of what tasks may differ in; constants of the backbone stand in it
    by name. Programs of two models over one backbone are interchangeable where these are equal.
    class_tensors: names of those whose first size is the number of classes.
    """

    module: GraphModule
    tensors: tuple[TaskTensor, ...]
    class_tensors: frozenset[str]
    computation: tuple[str, ...]


def lift_task_tensors(
    program: ExportedProgram, task_names: Collection[str], backbone: Collection[str], *, half: bool = False
) -> Lifted:
    """Make inputs of all constants of `program` that are in `task_names` or were derived from a memory.

    half: fp32 parents come in as fp16.
    backbone: names of the constants that stay (parameters and buffers of the model that are no task's).
    """
    constants = {node: constant_tensor(program, node) for node in program.graph.nodes if node.op == "placeholder"}
    targets = {
        spec.arg.name: spec.target
        for spec in program.graph_signature.input_specs
        if spec.kind is not InputKind.USER_INPUT
    }
    names = _names(program, constants, targets, set(task_names), set(backbone))
    opened = _opened(program, constants, names)

    graph, root = Graph(), torch.nn.Module()
    copied: dict[Node, Node] = {}
    for node in program.graph.nodes:
        if node.op == "placeholder" and constants[node] is None:
            copied[node] = graph.placeholder(node.name)
            copied[node].meta.update(node.meta)
    given: list[tuple[str, Any, Node | None]] = [(name, constants[node], node) for node, name in names.items()]
    given += [(name, value, None) for tensors in opened.values() for name, value in tensors.items()]
    if half:
        given = [(name, _halved(name, value) if _is_parents(name) else value, node) for name, value, node in given]
    # Stable: otherwise in the order of the computation.
    given.sort(key=lambda each: (not _is_blocks(each[0]), -each[1].element_size()))
    inputs: dict[str, Node] = {}
    for index, (name, _, _) in enumerate(given):
        if name in inputs:
            raise CompileError(f"two task tensors have the name `{name}`")
        inputs[name] = graph.placeholder(f"task_{index}")
    for name, value, node in given:
        if value.dtype is torch.float16:
            inputs[name] = graph.call_function(_WIDEN, (inputs[name],))
        if node is not None:
            copied[node] = inputs[name]
    for node in program.graph.nodes:
        if node.op == "placeholder":
            value = constants[node]
            if node not in copied and value is not None and node.users:
                attribute = re.sub(r"\W", "_", targets[node.name])
                root.register_buffer(attribute, value.detach())
                copied[node] = graph.get_attr(attribute)
        elif node.op == "output":
            graph.output(map_arg(node.args[0], copied.__getitem__))
        elif node in opened:
            arguments = [inputs[name] for name in opened[node]]
            copied[node] = graph.call_function(open_memory, (copied[node.args[0]], *arguments))
        else:
            copied[node] = graph.node_copy(node, copied.__getitem__)
    graph.lint()
    lines = tuple(_computation(program.graph, names, targets, constants, set(backbone), opened))
    tensors = tuple(TaskTensor(name, value.detach().contiguous()) for name, value, _ in given)
    return Lifted(GraphModule(root, graph), tensors, _class_tensors(program.graph, names), lines)


def _class_tensors(graph: Graph, names: dict[Node, str]) -> frozenset[str]:
    """Weight and bias of the linear that gives the logits."""
    linears = [node for node in graph.nodes if node.target is torch.ops.aten.linear.default]
    if not linears or linears[-1].args[1] not in names:
        raise CompileError("the logits don't come from a linear layer of the task")
    return frozenset(names[each] for each in linears[-1].args[1:] if each in names)


def _is_blocks(name: str) -> bool:
    """Packed for the kernels: its rows are whole cache lines for every size that a task may have."""
    return name.startswith("memories.") and name.rpartition(".")[2] in _BLOCKS


def _is_parents(name: str) -> bool:
    return name.startswith("memories.") and name.endswith(".logit_weights")


def _halved(name: str, value: torch.Tensor) -> torch.Tensor:
    if value.dtype is not torch.float32:
        return value
    halved = value.detach().half()
    if not torch.isfinite(halved).all():
        raise UnsupportedModelError(
            f"`{name}` holds values beyond {torch.finfo(torch.float16).max:g}, which a quantised task's file can't",
            hint="`--quantize none` keeps them in fp32",
        )
    return halved


def _names(
    program: ExportedProgram, constants: dict, targets: dict[str, str], task_names: set[str], backbone: set[str]
) -> dict[Node, str]:
    """The task constants among the placeholders, by the names that their inputs will have."""
    memories = _memory_numbers(program.graph)
    names: dict[Node, str] = {}
    for node, value in constants.items():
        if value is None or all(user.target is _LOOKUP for user in node.users):
            continue
        name = _task_name(node, targets[node.name], task_names, memories)
        if name is not None:
            names[node] = name
        elif targets[node.name] not in backbone and not _is_plain_constant(program, node):
            raise CompileError(f"constant `{targets[node.name]}` is neither the backbone's nor a task's")
    return names


def _opened(program: ExportedProgram, constants: dict, names: dict[Node, str]) -> dict[Node, dict[str, torch.Tensor]]:
    """The tensors of every memory that stands as `spartan::memory_lookup`, by the names of their inputs."""
    opened = {}
    for node, number in _memory_numbers(program.graph).items():
        if node.target is not _LOOKUP:
            continue
        parents, keys, values = (constants.get(argument) for argument in node.args[1:4])
        if parents is None or keys is None or values is None:
            raise CompileError(f"`{node.name}` has parents, keys or values that are computed, not stored")
        with torch.no_grad():
            made = open_tensors(parents.detach(), keys.detach(), values.detach(), *node.args[4:6])
        opened[node] = {f"memories.{number}.{role}": value for role, value in made.items()}
    return opened


def _memory_numbers(graph: Graph) -> dict[Node, int]:
    lookups = [node for node in graph.nodes if _is_lookup(node)]
    return {node: number for number, node in enumerate(lookups)}


def _is_lookup(node: Node) -> bool:
    schema = getattr(node.target, "_schema", None)
    return node.op == "call_function" and schema is not None and schema.name == f"{NAMESPACE}::memory_lookup"


def _task_name(node: Node, target: str, task_names: set[str], memories: dict[Node, int]) -> str | None:
    for user in node.users:
        if user in memories:
            role = user.target._schema.arguments[user.args.index(node)].name
            return f"memories.{memories[user]}.{role}"
    derived = DERIVED_HEAD.fullmatch(target)
    if derived is not None:
        return f"head.{derived[1]}.{derived[2]}"
    return target if target in task_names else None


def _is_plain_constant(program: ExportedProgram, node: Node) -> bool:
    """A tensor that was written out in the model's code, like a mask's least value, or by a pass that says so."""
    return any(
        spec.kind is InputKind.CONSTANT_TENSOR or (spec.target or "").startswith(PLAIN)
        for spec in program.graph_signature.input_specs
        if getattr(spec.arg, "name", None) == node.name
    )


def _computation(
    graph: Graph,
    names: dict[Node, str],
    targets: dict[str, str],
    constants: dict,
    backbone: set[str],
    opened: dict[Node, dict[str, torch.Tensor]],
) -> list[str]:
    """One line for every node, free of node names and of sizes that tasks differ in."""
    number: dict[Node, str] = {}
    lines = []
    for node in graph.nodes:
        if node.op == "placeholder":
            if node in names:
                number[node] = f"task:{names[node]}:{constants[node].dtype}"
            elif constants[node] is not None:
                # A constant written out in the model's code has no name that identifies it: its digest does.
                target = targets[node.name]
                number[node] = f"backbone:{target}" if target in backbone else tensor_digest(constants[node])
            else:
                number[node] = f"input:{node.name}"
            continue
        if node in opened:
            lines.append(f"open_memory {number[node.args[0]]} {list(opened[node])}")
            number[node] = f"%{len(lines) - 1}"
            continue
        number[node] = f"%{len(lines)}"
        arguments = map_arg((node.args, node.kwargs), lambda each: _Reference(number[each]))
        lines.append(f"{node.target if node.op == 'call_function' else node.op} {arguments}")
    return lines


class _Reference:
    def __init__(self, text: str):
        self._text = text

    def __repr__(self) -> str:
        return self._text


def tensor_digest(tensor: torch.Tensor) -> str:
    """SHA-256 of type, shape and bytes."""
    value = tensor.detach().cpu().contiguous()
    digest = hashlib.sha256(f"{value.dtype} {list(value.shape)}\n".encode())
    digest.update(value.reshape(-1).view(torch.uint8).numpy().tobytes() if value.numel() else b"")
    return digest.hexdigest()
