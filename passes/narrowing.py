"""Stored weights without some of their rows or columns, for passes that make linears narrower."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind
from torch.fx import Node

from spartanc.passes.program import add_constant, constant_tensor


class Narrowed:
    """Narrower constants of one program.

    Where linears share a weight (one layer that is applied several times), they share what it is narrowed to as well.
    """

    def __init__(self, program: ExportedProgram):
        self._program = program
        self._made: dict[tuple[Node, int, bytes], Node] = {}

    def rows(self, constant: Node, kept: Tensor) -> Node:
        """`constant` [N, ...] at the rows where `kept` (bool [N]) is set."""
        return self._select(constant, kept, 0)

    def last(self, constant: Node, kept: Tensor) -> Node:
        """`constant` [..., K] at the places of its last dimension where `kept` (bool [K]) is set."""
        return self._select(constant, kept, -1)

    def with_added(self, linear: Node, moved_N: Tensor) -> Node | None:
        """The bias of `linear` with `moved_N` added to it; its own where that is zero."""
        bias = bias_of(linear)
        if not moved_N.any():
            return bias
        key = (linear.args[1] if bias is None else bias, 0, moved_N.numpy().tobytes())
        if key not in self._made:
            total = moved_N if bias is None else self._value(bias) + moved_N
            self._made[key] = self._add(f"{linear.name}_bias_with_constants", total)
        return self._made[key]

    def _select(self, constant: Node, kept: Tensor, dim: int) -> Node:
        key = (constant, dim, kept.numpy().tobytes())
        if key not in self._made:
            narrow = self._value(constant).index_select(dim, kept.nonzero().flatten())
            self._made[key] = self._add(f"{constant.name}_narrowed_{len(self._made)}", narrow)
        return self._made[key]

    def _value(self, constant: Node) -> Tensor:
        value = constant_tensor(self._program, constant)
        assert value is not None, f"`{constant.name}` is no constant"
        return value.detach()

    def _add(self, name: str, value: Tensor) -> Node:
        return add_constant(self._program, name, value, InputKind.CONSTANT_TENSOR)


def bias_of(linear: Node) -> Node | None:
    return linear.args[2] if len(linear.args) > 2 else None


def constant_part(weight_NK: Tensor, removed: Tensor, constants_K: Tensor) -> Tensor:
    """[N]: what the inputs of a linear where `removed` (bool [K]) is set add to its outputs, being `constants_K`."""
    with torch.no_grad():
        return (weight_NK[:, removed].double() @ constants_K[removed].double()).float()
