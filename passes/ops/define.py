"""How an operator of ours comes to be known to torch."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch

NAMESPACE = "spartan"


@cache
def _library() -> torch.library.Library:
    return torch.library.Library(NAMESPACE, "FRAGMENT")  # kept: an operator goes when its library does


def define_operator(name: str, arguments: str, function: Callable[..., Any], result_shape: Callable[..., Any]) -> None:
    """Define `spartan::name` with its `out` variant, which ExecuTorch calls; both return a new tensor.

    name: of the operator, or `operator.overload`. arguments: as in a schema. function: the eager reference.
    result_shape: an empty tensor of the result's shape and type, from the same arguments.
    """
    operator, _, overload = name.partition(".")
    out_name = f"{operator}.{overload}_out" if overload else f"{operator}.out"

    def write_to_out(*given: Any, out: torch.Tensor) -> torch.Tensor:
        return out.copy_(function(*given))

    library = _library()
    library.define(f"{name}({arguments}) -> Tensor")
    library.define(f"{out_name}({arguments}, *, Tensor(a!) out) -> Tensor(a!)")
    library.impl(name, function, "CompositeExplicitAutograd")
    library.impl(out_name, write_to_out, "CompositeExplicitAutograd")
    torch.library.register_fake(f"{NAMESPACE}::{name}", result_shape, lib=library)
