"""After the last layer's keys and values, only the position that is pooled is computed.

before:  x [1, L, H] -> q, k, v -> attention -> linear -> LayerNorm -> feed-forward -> memory -> select(1, 0)
after:   x [1, L, H] -> k, v;  x[:, 0:1] -> q -> attention -> linear -> LayerNorm -> .. -> memory -> select(1, 0)

Worked out from the end: a node is needed in full, or at position 0 of one dimension only. Whatever treats positions
apart (linears, LayerNorm, pointwise operators, softmax over another dimension, the rows of a product, queries, the
memory) passes the need on to its inputs; where an input is needed in full by someone else, it is sliced.
With one head, views between one position and its one head do nothing, and go.
Left alone: pooling of another position than the first, or of all. Bit-exact, but for the order of sums in a product
of fewer rows.
"""

from __future__ import annotations

import torch
from torch.export import ExportedProgram
from torch.fx import Graph, Node

from spartanc.passes.drop_noop_ops import does_nothing
from spartanc.passes.program import copy_program, finish
from spartanc.passes.properties import Property
from spartanc.passes.protocol import GraphPass, PassReport, Skipped
from spartanc.passes.rewrite import POINTWISE, VIEWS, aten, call, same_place, shape_of, transposition

_ATTENTION = torch.ops.spartan.attention.relative  # the other form of attention is made behind this pass
_MEMORY = {torch.ops.spartan.memory_lookup.default, torch.ops.spartan.memory_lookup.packed}


class DropDeadTokens(GraphPass):
    name = "drop_dead_tokens"
    requires = frozenset({Property.MEMORIES_FUSED})  # the memory as it is written does not treat positions apart
    provides = frozenset({Property.ONLY_POOLED_TOKENS})
    tolerance = 1e-5

    def run(self, program: ExportedProgram) -> tuple[ExportedProgram, PassReport]:
        program, report = copy_program(program), PassReport(self.name)
        needs = _needs(program.graph)
        alone: dict[Node, int | str] = {
            node: need for node, need in needs.items() if isinstance(need, int) and node.op == "call_function"
        }
        if not alone:
            selects = [n for n in program.graph.nodes if n.target is aten.select.int]
            report.skipped = [Skipped(n.name, "it does not pool the first position of a sequence") for n in selects]
            return program, report
        slicer = _Slicer(program.graph, alone)
        for node in [node for node in program.graph.nodes if node in alone]:
            slicer.narrow(node)
        slicer.reconnect()
        report.changes = len(alone)
        report.notes = {"slices": slicer.slices}
        program = finish(program)
        for node in list(program.graph.nodes):
            if node.target in VIEWS and does_nothing(node):  # it took one head out of one position, or put it back
                node.replace_all_uses_with(node.args[0])
        return finish(program), report

    def holds(self, program: ExportedProgram) -> str | None:
        for node, need in _needs(program.graph).items():
            if isinstance(need, int) and node.op == "call_function":
                return f"`{node.name}` is computed for positions that nothing reads"
        return None


_ALL = "all"


def _needs(graph: Graph) -> dict[Node, int | str]:
    """Per node the one dimension of which only position 0 is read, or `all`."""
    needs: dict[Node, int | str] = {}

    def ask(node: Node, need: int | str) -> None:
        known = needs.get(node)
        needs[node] = need if known is None or known == need else _ALL

    for node in reversed(graph.nodes):
        need = needs.get(node, _ALL)
        if isinstance(need, int):
            for source, wanted in _passed_on(node, need).items():
                ask(source, wanted)
            continue
        pooled = _pooled_dimension(node)
        for source in node.all_input_nodes:
            ask(source, pooled if pooled is not None and source is node.args[0] else _ALL)
    # A node that can be narrowed only by slicing its own result is needed in full.
    for node in graph.nodes:
        found = needs.get(node)
        if isinstance(found, int) and not _narrows(node, found):
            needs[node] = _ALL
    return needs


def _pooled_dimension(node: Node) -> int | None:
    """The dimension of which `node` reads only position 0 of its input; None if there is none."""
    if node.target is aten.select.int and node.args[2] == 0:
        rank = len(shape_of(node.args[0]))
        dim = node.args[1] % rank
    elif node.target is aten.slice.Tensor and list(node.args[2:]) == [0, 1]:
        dim = node.args[1] % len(shape_of(node.args[0]))
    else:
        return None
    length = shape_of(node.args[0])[dim]
    return None if isinstance(length, int) and length == 1 else dim


def _narrows(node: Node, dim: int) -> bool:
    """Whether a node can compute position 0 of `dim` from less than all of its inputs."""
    return node.op == "call_function" and any(isinstance(n, int) for n in _passed_on(node, dim).values())


def _passed_on(node: Node, dim: int) -> dict[Node, int | str]:
    """What a node of which only position 0 of `dim` is read needs of its inputs."""
    wanted: dict[Node, int | str] = dict.fromkeys(node.all_input_nodes, _ALL)
    if node.op != "call_function":
        return wanted
    source = node.args[0] if node.args else None
    rank = len(shape_of(node)) if isinstance(node.meta.get("val"), torch.Tensor) else 0
    if node.target in POINTWISE:
        for operand in node.args:
            if isinstance(operand, Node):
                own = dim - (rank - len(shape_of(operand)))
                if own >= 0 and _length(operand, own) != 1:
                    wanted[operand] = own
    elif not isinstance(source, Node):
        pass
    elif (order := transposition(node)) is not None:
        wanted[source] = order[dim]
    elif node.target is aten.linear.default or node.target in _MEMORY:
        if dim < rank - 1:
            wanted[source] = dim
    elif node.target is aten.layer_norm.default:
        if dim < rank - len(node.args[1]):
            wanted[source] = dim
    elif node.target is aten.softmax.int:
        if node.args[1] % rank != dim:
            wanted[source] = dim
    elif node.target is aten.matmul.default and len(shape_of(node.args[1])) == 2:
        if dim < rank - 1:
            wanted[source] = dim
    elif node.target in (aten.bmm.default, aten.matmul.default):
        if dim == rank - 2 and len(shape_of(source)) == rank and source is not node.args[1]:
            wanted[source] = dim
    elif node.target is _ATTENTION:
        if dim == 1:
            wanted[source] = dim
    elif node.target in VIEWS:
        place = same_place(shape_of(source), shape_of(node), dim)
        if place is not None:
            wanted[source] = place
    return wanted


def _length(node: Node, dim: int) -> int | torch.SymInt:
    return shape_of(node)[dim]


class _Slicer:
    def __init__(self, graph: Graph, alone: dict[Node, int | str]):
        self.graph, self.alone = graph, alone
        self.narrowed: dict[Node, Node] = {}
        self.cut: dict[tuple[Node, int], Node] = {}
        self.slices = 0

    def narrow(self, node: Node) -> None:
        """`node` again, for position 0 of its dimension only."""
        dim = self.alone[node]
        assert isinstance(dim, int)
        wanted = _passed_on(node, dim)
        with self.graph.inserting_before(node):
            replaced = {source: self._input(source, need) for source, need in wanted.items()}
            arguments = torch.fx.node.map_arg(node.args, lambda n: replaced[n])
            named = torch.fx.node.map_arg(node.kwargs, lambda n: replaced[n])
            if node.target in VIEWS:
                shape = [1 if at == dim else size for at, size in enumerate(node.args[1])]
                arguments = (arguments[0], [replaced.get(n, n) if isinstance(n, Node) else n for n in shape])
            self.narrowed[node] = call(self.graph, node.target, arguments, named)

    def _input(self, source: Node, need: int | str) -> Node:
        if not isinstance(need, int):
            return source
        if source in self.narrowed:
            return self.narrowed[source]
        if (source, need) not in self.cut:
            self.cut[source, need] = call(self.graph, aten.slice.Tensor, (source, need, 0, 1))
            self.slices += 1
        return self.cut[source, need]

    def reconnect(self) -> None:
        """The readers that pool, and read position 0 of what is now the only one."""
        for node, narrow in self.narrowed.items():
            for user in list(node.users):
                if user not in self.narrowed:
                    user.replace_input_with(node, narrow)
