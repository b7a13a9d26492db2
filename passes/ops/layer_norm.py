"""`spartan::add_layer_norm`: a residual and the LayerNorm over it, in one pass over each row.

    add_layer_norm(x, residual, weight, bias, eps) = layer_norm(x + residual, [H], weight, bias, eps)

x and the residual [..., H] in float32, the residual of x's shape or absent; weight [H], bias [H] or absent. XNNPACK has
no LayerNorm, and ExecuTorch's runs on one thread and reads the sum from memory again.
The eager reference below is the definition; kernels are tested against float64.
"""

from __future__ import annotations

import torch
from torch import Tensor

NAMESPACE = "spartan"
_ARGUMENTS = "Tensor x, Tensor? residual, Tensor weight, Tensor? bias, float eps"
_library = torch.library.Library(NAMESPACE, "FRAGMENT")
_library.define(f"add_layer_norm({_ARGUMENTS}) -> Tensor")
_library.define(f"add_layer_norm.out({_ARGUMENTS}, *, Tensor(a!) out) -> Tensor(a!)")


def add_layer_norm(x: Tensor, residual: Tensor | None, weight: Tensor, bias: Tensor | None, eps: float) -> Tensor:
    """LayerNorm of `x + residual` over the last dimension; raises RuntimeError where shapes disagree."""
    torch._check(
        residual is None or residual.shape == x.shape,
        lambda: f"residual must be {list(x.shape)}, got {list(residual.shape) if residual is not None else None}",
    )
    total = x if residual is None else x + residual
    return torch.nn.functional.layer_norm(total, (x.shape[-1],), weight, bias, eps)


def _write_to_out(*arguments, out):
    return out.copy_(add_layer_norm(*arguments))


def _result_shape(x, *arguments):
    return torch.empty_like(x, memory_format=torch.contiguous_format)


_library.impl("add_layer_norm", add_layer_norm, "CompositeExplicitAutograd")
_library.impl("add_layer_norm.out", _write_to_out, "CompositeExplicitAutograd")
torch.library.register_fake(f"{NAMESPACE}::add_layer_norm", _result_shape, lib=_library)
