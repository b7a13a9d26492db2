"""Writing operators and constants into the graph of a program."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import Graph, Node
from torch.fx.node import map_arg

from spartanc.passes.program import add_constant, constant_tensor
from spartanc.passes.rewrite import aten


class Emitter:
    """Appends operators to a graph in the place of `origin`, each with the shape that its inputs give it."""

    def __init__(self, graph: Graph, origin: Node, constants: Constants):
        self._graph = graph
        self._origin = origin
        self._constants = constants
        self._fake_mode = origin.meta["val"].fake_mode

    def __call__(self, target: Any, *args: Any) -> Node:
        node = self._graph.call_function(target, args)
        for key in ("stack_trace", "nn_module_stack"):
            if key in self._origin.meta:
                node.meta[key] = self._origin.meta[key]
        with self._fake_mode, torch.no_grad():
            node.meta["val"] = target(*_values(args))
        return node

    def linear(self, x: Node, weight: Node, bias: Node | None = None) -> Node:
        return self(aten.linear.default, x, weight) if bias is None else self(aten.linear.default, x, weight, bias)

    def constant(self, name: str, data: Tensor) -> Node:
        """A new buffer that is `origin`'s own."""
        return self._constants.add(f"portable_{self._origin.name}_{name}", data)

    def shared(self, name: str, data: Tensor) -> Node:
        """A buffer that is the same wherever it has this name."""
        return self._constants.add(name, data)

    def fold(self, target: Any, nodes: Sequence[Node]) -> Node:
        result = nodes[0]
        for node in nodes[1:]:
            result = self(target, result, node)
        return result


def _values(args: Any) -> Any:
    return map_arg(args, lambda node: node.meta["val"])


class Constants:
    """The constant tensors of a program: reads those that are there and adds new ones."""

    def __init__(self, program: ExportedProgram):
        self._program = program

    def value(self, node: Any) -> Tensor | None:
        """The tensor that `node` always has, if it is a function of constants; None for any other."""
        if not isinstance(node, Node):
            return None
        if node.op == "placeholder":
            tensor = constant_tensor(self._program, node)
            return None if tensor is None else tensor.detach()
        if node.op != "call_function" or node.kwargs or not isinstance(node.target, torch._ops.OpOverload):
            return None
        inputs = {child: self.value(child) for child in node.all_input_nodes}
        if not inputs or any(value is None for value in inputs.values()):
            return None
        with torch.no_grad():
            return node.target(*map_arg(node.args, inputs.__getitem__))

    def add(self, name: str, data: Tensor) -> Node:
        """A buffer of the program; a name that is there already is the same constant of another memory."""
        return add_constant(self._program, name, data)
