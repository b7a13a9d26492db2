"""One order and one naming of a program's operators, whatever the order in which Python came to trace them.

Between operators that do not need each other, torch.export keeps the order of tracing, and names them by it. A model
whose forward walks a set of strings (transformers' ModernBERT: `for layer_type in set(config.layer_types)`) is traced
in another order in every process, for Python's hashes of strings differ: other bytes of one model.

Here an operator stands right before the first that needs it, by the order of arguments; from the output back, this
depends on nothing but what is computed. What nothing reads, and has an effect (assertions), comes last.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable

import torch
from torch.export import ExportedProgram
from torch.fx import Graph, GraphModule, Node
from torch.fx.node import map_arg

from spartanc.passes.program import finish, name_outputs


def in_canonical_order(program: ExportedProgram) -> ExportedProgram:
    """`program` with its operators in the one order, under names that follow from it; inputs keep place and name."""
    graph, copies = Graph(), dict[Node, Node]()
    graph.set_codegen(copy.deepcopy(program.graph._codegen))
    for node in _in_order(program.graph):
        arguments, named = map_arg((node.args, node.kwargs), copies.__getitem__)
        made = graph.create_node(node.op, node.target, arguments, named, _name(node), node.type)
        if node.op != "call_function":
            made.name = node.name  # a graph renames what is called like a builtin: `input`
        made.meta = copy.copy(node.meta)
        copies[node] = made
    module = GraphModule(program.graph_module, graph)
    module.meta.update(program.graph_module.meta)
    signature = copy.deepcopy(program.graph_signature)
    name_outputs(signature, graph)
    state, constants = dict(program.state_dict), dict(program.constants)
    return finish(program._update(module, signature, state_dict=state, constants=constants))


def _name(node: Node) -> str | None:
    """What to call a copy of `node`: inputs and outputs as they are, operators by what they are, numbered anew."""
    if node.op != "call_function":
        return node.name
    return node.target._opname if isinstance(node.target, torch._ops.OpOverload) else None


def _in_order(graph: Graph) -> list[Node]:
    nodes = list(graph.nodes)
    output = graph.output_node()
    order = {node: place for place, node in enumerate(node for node in nodes if node.op == "placeholder")}
    _add(order, output.all_input_nodes)
    effects = [node for node in nodes if node not in order and node is not output and node.is_impure()]
    _add(order, [source for node in effects for source in node.all_input_nodes])
    effects.sort(key=lambda node: (str(node.target), [order[source] for source in node.all_input_nodes]))
    _add(order, effects)
    return [*order, output]


def _add(order: dict[Node, int], wanted: Iterable[Node]) -> None:
    """Put `wanted`, and before each all that it needs, at the end of `order`, which gives each node its place."""
    stack = [*reversed(list(wanted))]
    while stack:
        node = stack[-1]
        missing = [source for source in node.all_input_nodes if source not in order]
        if node not in order and missing:
            stack.extend(reversed(missing))
            continue
        order.setdefault(node, len(order))
        stack.pop()
