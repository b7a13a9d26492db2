"""Which function says what an operator computes, as a formula.

    @rule(aten.linear.default)
    def _linear(flow: Dataflow, node: Node) -> Tensor: ...

A rule returns the formula of the node's result; a `Value` if it only rearranges; None if it has said all that there is
to say in `flow` itself. It raises `Inexpressible`, with words fit for a report, where there is no formula.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch.fx import Node

from spartanc.passes.index_notation import Tensor

if TYPE_CHECKING:
    from spartanc.passes.dataflow.flow import Dataflow, Value

aten = torch.ops.aten

Rule = Callable[["Dataflow", Node], "Value | Tensor | None"]
_R = TypeVar("_R", bound=Rule)

RULES: dict[Any, Rule] = {}

# They compute no tensor: nothing is lost at them.
IGNORED = {
    aten._assert_tensor_metadata.default,
    aten.sym_size.int,
    aten._assert_scalar.default,
    aten.sym_constrain_range_for_size.default,
}


def rule(*operators: Any) -> Callable[[_R], _R]:
    """The decorated function is the rule of these operators."""

    def register(function: _R) -> _R:
        twice = RULES.keys() & set(operators)
        assert not twice, f"a second rule for {twice}"
        RULES.update(dict.fromkeys(operators, function))
        return function

    return register
