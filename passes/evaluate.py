"""What a part of a graph computes when it reads sizes, constants and few inputs: its value, by running it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.fx import Node

from spartanc.passes.program import constant_tensor
from spartanc.passes.rewrite import aten

NOT_GIVEN = object()
# They read the shape of their input, not what is in it.
_SHAPE_READERS = {
    aten.sym_size.int,
    aten.zeros_like.default,
    aten.ones_like.default,
    aten.full_like.default,
    aten.new_ones.default,
    aten.new_zeros.default,
    aten.new_full.default,
}


class Dependencies:
    """Which inputs of the program each node reads the contents of; constants and sizes are none."""

    def __init__(self, program: ExportedProgram):
        self._of: dict[Node, frozenset[Node]] = {}
        for node in program.graph.nodes:
            if node.op == "placeholder":
                constant = constant_tensor(program, node) is not None
                self._of[node] = frozenset() if constant else frozenset({node})
            elif node.target in _SHAPE_READERS:
                self._of[node] = frozenset()
            else:
                self._of[node] = frozenset().union(*(self._of[source] for source in node.all_input_nodes))

    def of(self, node: Node) -> frozenset[Node]:
        return self._of[node]


def evaluate(program: ExportedProgram, node: Node, inputs: Mapping[Node, torch.Tensor]) -> torch.Tensor:
    """The value of `node` with `inputs` in place of the program's inputs, each of which must be given."""

    def given(source: Node) -> Any:
        return constant_tensor(program, source) if source.op == "placeholder" else NOT_GIVEN

    with torch.no_grad():
        return run_node(node, dict(inputs), given)


def run_node(node: Node, held: dict[Node, Any], given: Callable[[Node], Any]) -> Any:
    """The value of `node`, computing each node that it needs once; deep graphs need no deep recursion.

    held: values that are known, to which those of all nodes on the way are added. given: asked for every other node
    before it is run; NOT_GIVEN lets it run.
    """
    stack = [node]
    while stack:
        current = stack[-1]
        if current in held:
            stack.pop()
            continue
        value = given(current)
        if value is not NOT_GIVEN:
            held[current] = value
            continue
        missing = [source for source in current.all_input_nodes if source not in held]
        if missing:
            stack.extend(missing)
            continue
        arguments = torch.fx.node.map_arg(current.args, held.__getitem__)
        named = torch.fx.node.map_arg(current.kwargs, held.__getitem__)
        held[current] = current.target(*arguments, **named)
    return held[node]


def token_inputs(program: ExportedProgram) -> tuple[list[Node], int] | None:
    """The program's inputs of shape [1, L], and the largest L; None where they are of other shapes.

    Task tensors come in later: a captured program has ids and mask alone.
    """
    names = set(program.graph_signature.user_inputs)
    nodes = [node for node in program.graph.nodes if node.op == "placeholder" and node.name in names]
    longest = 0
    for node in nodes:
        value = node.meta.get("val")
        if not isinstance(value, torch.Tensor) or value.dim() != 2 or value.dtype is not torch.int64:
            return None
        if value.shape[0] != 1 or isinstance(value.shape[1], int):
            return None
        limits = program.range_constraints.get(value.shape[1].node.expr)
        if limits is None or not limits.is_int or not limits.upper.is_finite:
            return None
        longest = int(limits.upper)
    return (nodes, longest) if longest else None
