"""`spartan::add_layer_norm`: a residual and the LayerNorm over it, in one pass over each row.

    add_layer_norm(x, residual, weight, bias, eps) = layer_norm(x + residual, [H], weight, bias, eps)

x and the residual [..., H] in float32, the residual of x's shape or absent; weight [H], bias [H] or absent. XNNPACK has
no LayerNorm, and ExecuTorch's runs on one thread and reads the sum from memory again.
The eager reference below is the definition; kernels are tested against float64.
"""

from __future__ import annotations

import torch
from torch import Tensor

from spartanc.passes.ops.define import define_operator

_ARGUMENTS = "Tensor x, Tensor? residual, Tensor weight, Tensor? bias, float eps"


def add_layer_norm(x: Tensor, residual: Tensor | None, weight: Tensor, bias: Tensor | None, eps: float) -> Tensor:
    """LayerNorm of `x + residual` over the last dimension; raises RuntimeError where shapes disagree."""
    torch._check(
        residual is None or residual.shape == x.shape,
        lambda: f"residual must be {list(x.shape)}, got {list(residual.shape) if residual is not None else None}",
    )
    total = x if residual is None else x + residual
    return torch.nn.functional.layer_norm(total, (x.shape[-1],), weight, bias, eps)


def _result_shape(x, *arguments):
    return torch.empty_like(x, memory_format=torch.contiguous_format)


def register() -> None:
    define_operator("add_layer_norm", _ARGUMENTS, add_layer_norm, _result_shape)
