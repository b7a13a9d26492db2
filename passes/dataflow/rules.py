"""Which function says what an operator computes, as a formula.

    rule = Rules()

    @rule(aten.linear.default)
    def _linear(flow: Dataflow, node: Node) -> Tensor: ...

A rule returns the formula of the node's result; a `Value` if it only rearranges; None if it has said all that there is
to say in `flow` itself. It raises `Inexpressible`, with words fit for a report, where there is no formula.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
from torch.fx import Node

from spartanc.passes.dataflow.value import Value
from spartanc.passes.index_notation import Tensor

aten = torch.ops.aten

Rule = Callable[[Any, Node], Value | Tensor | None]  # of the walk, a `Dataflow`, and the node it is at
_R = TypeVar("_R", bound=Rule)

# They compute no tensor: nothing is lost at them.
IGNORED = {
    aten._assert_tensor_metadata.default,
    aten.sym_size.int,
    aten._assert_scalar.default,
    aten.sym_constrain_range_for_size.default,
}


class Rules(dict[Any, Rule]):
    """Rules by operator. A module has one and calls it `rule`, the decorator that puts a function into it."""

    def __call__(self, *operators: Any) -> Callable[[_R], _R]:
        """The decorated function is the rule of these operators."""

        def enter(function: _R) -> _R:
            self.add(dict.fromkeys(operators, function))
            return function

        return enter

    def add(self, others: Mapping[Any, Rule]) -> None:
        twice = self.keys() & others.keys()
        assert not twice, f"a second rule for {twice}"
        self.update(others)
