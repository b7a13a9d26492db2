"""Operators that compute nothing go; they cost a copy each, and cut XNNPACK's delegates apart.

before:  clone(x)    (dropout in inference)          slice(x, d, 0, end)   (all of it)
         expand(x, its own shape)                    view(x, its own shape)
         _to_copy(x, its own type)                   permute(permute(x))
         add(x, 0), mul(x, 1), div(x, 1)             _assert_tensor_metadata(x)
         view(x, [1, length, -1, 64])
after:   x, or one permute, or view(x, [1, -1, 12, 64])

The last one is about dynamic length: XNNPACK takes a view whose one dynamic size is inferred, none with a symbol.
Left alone: a clone that makes memory contiguous, and views of two dynamic sizes. Bit-exact.
"""

from __future__ import annotations

from collections import Counter

import torch
from torch.export import ExportedProgram
from torch.fx import Node

from spartanc.passes.program import copy_program, finish
from spartanc.passes.properties import Property
from spartanc.passes.protocol import GraphPass, PassReport
from spartanc.passes.rewrite import VIEWS, aten, call, inferable, shape_of, transposition

_SAME_IF_SHAPE_IS = {
    aten.slice.Tensor,
    aten.expand.default,
    *VIEWS,
}
_NEUTRAL = {
    aten.add.Tensor: 0,
    aten.sub.Tensor: 0,
    aten.mul.Tensor: 1,
    aten.div.Tensor: 1,
}


class DropNoopOps(GraphPass):
    name = "drop_noop_ops"
    provides = frozenset({Property.NO_NOOPS})
    tolerance = 0.0

    def run(self, program: ExportedProgram) -> tuple[ExportedProgram, PassReport]:
        program, report = copy_program(program), PassReport(self.name)
        dropped: Counter[str] = Counter()
        for node in list(program.graph.nodes):
            if node.op != "call_function":
                continue
            if node.target is aten._assert_tensor_metadata.default:
                program.graph.erase_node(node)
                dropped["assertions"] += 1
            elif does_nothing(node):
                node.replace_all_uses_with(node.args[0])
                dropped[node.target._opname] += 1
            elif _is_second_permute(node):
                _merge_permutes(program, node)
                dropped["permute"] += 1
            elif _infer_size(node):
                dropped["sizes inferred"] += 1
        report.changes, report.notes = dropped.total(), dict(dropped)
        return finish(program), report

    def holds(self, program: ExportedProgram) -> str | None:
        for node in program.graph.nodes:
            if does_nothing(node):
                return f"`{node.name}` does nothing"
        return None


def does_nothing(node: Node) -> bool:
    """Whether a node may go: an output keeps its own, as an input must not become one."""
    return node.op == "call_function" and is_noop(node) and not any(user.op == "output" for user in node.users)


def is_noop(node: Node) -> bool:
    """Whether a node's result is its first argument, bit by bit and in the same layout."""
    source = node.args[0] if node.args else None
    if not isinstance(source, Node) or not isinstance(source.meta.get("val"), torch.Tensor):
        return False
    before, after = source.meta["val"], node.meta.get("val")
    if not isinstance(after, torch.Tensor) or before.dtype != after.dtype or before.dim() != after.dim():
        return False
    if node.target is aten.clone.default:
        return node.kwargs.get("memory_format") in (None, torch.preserve_format)
    if node.target in (aten.alias.default, aten.detach.default):
        return True
    if node.target is aten._to_copy.default:
        return node.kwargs.get("memory_format") is None and before.device == after.device
    same = all(_same(a, b) for a, b in zip(before.shape, after.shape, strict=True))
    if node.target in _SAME_IF_SHAPE_IS:
        return same
    return same and node.target in _NEUTRAL and _neutral(node)


def _neutral(node: Node) -> bool:
    number = node.args[1]
    return isinstance(number, int | float) and number == _NEUTRAL[node.target]


def _same(a: int | torch.SymInt, b: int | torch.SymInt) -> bool:
    if isinstance(a, int) and isinstance(b, int):
        return a == b
    return not isinstance(a, int) and not isinstance(b, int) and a.node.expr == b.node.expr


def _is_second_permute(node: Node) -> bool:
    source = node.args[0] if node.args else None
    return transposition(node) is not None and isinstance(source, Node) and transposition(source) is not None


def _merge_permutes(program: ExportedProgram, node: Node) -> None:
    source = node.args[0]
    assert isinstance(source, Node)
    first, second = transposition(source), transposition(node)
    assert first is not None
    assert second is not None
    with program.graph.inserting_before(node):
        merged = call(program.graph, aten.permute.default, (source.args[0], [first[d] for d in second]))
    node.replace_all_uses_with(merged)


def _infer_size(node: Node) -> bool:
    if node.target not in VIEWS:
        return False
    shape = inferable(shape_of(node))
    if shape is None or list(node.args[1]) == shape:
        return False
    node.update_arg(1, shape)
    return True
