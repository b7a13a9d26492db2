"""Attention of one sentence in three dimensions: the batch of one goes, and with it what a batched product needs.

before:  q, k, v = view(.., [1, L, heads, d]).transpose(1, 2)                      [1, heads, L, d]
         p = softmax(matmul(q, k.transpose(2, 3)) * scale + mask, -1)              [1, heads, L, L]
         y = matmul(p, v).transpose(1, 2).contiguous().view([1, L, H])
after:   q, k, v = view(.., [L, heads, d]).permute(1, 0, 2)                        [heads, L, d]
         p = softmax(bmm(q, k.permute(..)) * scale + mask.squeeze(0), -1)          [heads, L, L]
         y = bmm(p, v).permute(1, 0, 2).contiguous().view([1, L, H])

A product in four dimensions is lowered as expand, view, product, view around each operand; those of [L, L] have two
dynamic sizes, which XNNPACK doesn't take, so that one layer falls into nine delegates. In three dimensions it is the
product itself. Left alone: products whose batch isn't fixed at 1. Bit-exact.
"""

from __future__ import annotations

import torch
from torch.export import ExportedProgram
from torch.fx import Graph, Node

from spartanc.passes.program import copy_program, finish
from spartanc.passes.properties import Property
from spartanc.passes.protocol import GraphPass, PassReport, Skipped
from spartanc.passes.rewrite import VIEWS, aten, call, inferable, shape_of, transposition

_POINTWISE = (aten.mul.Tensor, aten.div.Tensor, aten.add.Tensor, aten.clone.default)


class DropBatchDimension(GraphPass):
    name = "drop_batch_dimension"
    provides = frozenset({Property.ATTENTION_IN_THREE_DIMENSIONS})
    tolerance = 1e-6

    def run(self, program: ExportedProgram) -> tuple[ExportedProgram, PassReport]:
        program, report = copy_program(program), PassReport(self.name)
        flat = _Flat(program.graph)
        for node in list(program.graph.nodes):
            if _is_product(node):
                if _batch_of_one(node):
                    report.changes += 1
                else:
                    report.skipped.append(Skipped(node.name, "the batch isn't fixed at 1"))
                    continue
            flat.visit(node)
        flat.restore()
        return finish(program), report

    def holds(self, program: ExportedProgram) -> str | None:
        for node in program.graph.nodes:
            if _is_product(node) and _batch_of_one(node):
                return f"`{node.name}` is a product in four dimensions"
        return None


def _is_product(node: Node) -> bool:
    return node.target is aten.matmul.default and len(shape_of(node.args[0])) == 4 and len(shape_of(node.args[1])) == 4


def _batch_of_one(node: Node) -> bool:
    shapes = [shape_of(operand) for operand in node.args]
    same_heads = isinstance(shapes[0][1], int) and shapes[0][1] == shapes[1][1]
    return same_heads and all(isinstance(shape[0], int) and shape[0] == 1 for shape in shapes)


class _Flat:
    """Nodes of shape [1, ...] and what stands for them without their first dimension."""

    def __init__(self, graph: Graph):
        self.graph = graph
        self.of: dict[Node, Node] = {}  # computed flat, so that the original goes
        self.read: dict[Node, Node] = {}  # read by a flat node, which leaves the original to its other readers

    def visit(self, node: Node) -> None:
        source = node.args[0] if node.args else None
        with self.graph.inserting_before(node):
            if _is_product(node):
                operands = tuple(self.flat(operand) for operand in node.args)
                self.of[node] = call(self.graph, aten.bmm.default, operands)
            elif not isinstance(source, Node) or source not in self.of:
                return
            elif node.target is aten.softmax.int:
                dim = node.args[1]
                assert isinstance(dim, int)
                if dim % 4:
                    flat_dim = dim if dim < 0 else dim - 1
                    self.of[node] = call(self.graph, aten.softmax.int, (self.of[source], flat_dim))
            elif node.target in _POINTWISE and all(_fits(a) for a in node.args):
                arguments = tuple(self.flat(a) if isinstance(a, Node) else a for a in node.args)
                self.of[node] = call(self.graph, node.target, arguments, dict(node.kwargs))
            elif (order := transposition(node)) is not None and order[0] == 0:
                flat_order = [d - 1 for d in order[1:]]
                self.of[node] = call(self.graph, aten.permute.default, (self.of[source], flat_order))
            elif node.target in VIEWS:
                shape = inferable(shape_of(node)) or node.args[1]
                node.replace_all_uses_with(call(self.graph, node.target, (self.of[source], shape)))

    def flat(self, node: Node) -> Node:
        """`node` without its first dimension, taken out as early as nothing but views and permutes lie between."""
        found = self.of.get(node) or self.read.get(node)
        if found is not None:
            return found
        shape = shape_of(node)
        order = transposition(node)
        inner = inferable(shape[1:])
        with self.graph.inserting_after(node):
            if order is not None and order[0] == 0:
                source = self.flat(node.args[0])
                found = call(self.graph, aten.permute.default, (source, [d - 1 for d in order[1:]]))
            elif node.target in VIEWS and inner is not None:
                found = call(self.graph, aten.view.default, (node.args[0], inner))
            elif inner is not None:
                found = call(self.graph, aten.view.default, (node, inner))
            else:
                found = call(self.graph, aten.squeeze.dim, (node, 0))
        self.read[node] = found
        return found

    def restore(self) -> None:
        """Whoever still reads a node that is computed flat gets it with its first dimension."""
        for node, flat in self.of.items():
            readers = [user for user in node.users if user not in self.of]
            if not readers:
                continue
            with self.graph.inserting_after(flat):
                shape = inferable(shape_of(node))
                if shape is None:
                    whole = call(self.graph, aten.unsqueeze.default, (flat, 0))
                else:
                    whole = call(self.graph, aten.view.default, (flat, shape))
            for reader in readers:
                reader.replace_input_with(node, whole)


def _fits(argument: object) -> bool:
    """Whether an operand has a first dimension of 1 to take off, or is a number."""
    if not isinstance(argument, Node):
        return True
    value = argument.meta.get("val")
    return (
        isinstance(value, torch.Tensor) and value.dim() == 4 and isinstance(value.shape[0], int) and value.shape[0] == 1
    )
