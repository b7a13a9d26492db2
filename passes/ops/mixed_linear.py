"""`quantized_decomposed::mixed_linear`: ExecuTorch's operator, fp32 rows times int8 weights with a scale for each row.

ExecuTorch brings the schema, the shape and the kernel for devices; what is missing is a function for eager PyTorch,
with which passes are checked here.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor


def mixed_linear(
    x: Tensor, weight: Tensor, scales: Tensor, zero_points: Tensor | None, dtype: torch.dtype | None = None
) -> Tensor:
    """float [..., N] from x [..., K], int8 weight [N, K] and scales [N]: what ExecuTorch's kernel computes."""
    assert zero_points is None
    return x @ (weight.to(x.dtype) * scales.unsqueeze(-1)).T


@cache
def _library() -> torch.library.Library:
    return torch.library.Library("quantized_decomposed", "IMPL")  # kept: the function goes when its library does


def register() -> None:
    """Give ExecuTorch's operator its eager function. Importing these modules is how ExecuTorch registers the rest."""
    import executorch.exir.passes._quant_patterns_and_replacements
    import executorch.kernels.quantized  # noqa: F401  (the out variant)

    _library().impl("mixed_linear", mixed_linear, "CompositeExplicitAutograd")
