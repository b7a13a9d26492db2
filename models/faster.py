"""A training step in less time, the task's own arithmetic as it was.

    attention    one fused operator instead of product, softmax, product; equal to fp32 rounding
    bf16         products with frozen weights in bfloat16, sums in fp32, forward and backward; what is trained, and
                 everything between the products, stays in fp32

Models are exported with plain attention and fp32 weights, so both hold inside a `with` only. On a processor with AMX
or AVX512-BF16 a product in bf16 takes a third to a sixth of the time; on others it may take longer than fp32.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from spartanc.models.classifier import SpartanClassifier

PRECISIONS = ("fp32", "bf16")


class FrozenProduct(torch.autograd.Function):
    """linear(x) by a weight and a bias in bf16 that get no gradient; x and the result are fp32, and x isn't kept."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.weight = weight
        return functional.linear(x.bfloat16(), weight, bias).float()

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None, None]:
        return (gradient.bfloat16() @ ctx.weight).float(), None, None


def _frozen_forward(weight: Tensor, bias: Tensor | None, x: Tensor) -> Tensor:
    return FrozenProduct.apply(x, weight, bias)


@contextmanager
def faster(classifier: SpartanClassifier, precision: str = "fp32") -> Iterator[None]:
    """Inside, `classifier` computes with fused attention, and its frozen linears as `precision` says."""
    network, changed = classifier.network, []
    before = network.config._attn_implementation
    if network._supports_sdpa:
        network.set_attn_implementation("sdpa")
    if precision == "bf16":
        for part in classifier.modules():
            if isinstance(part, nn.Linear) and not part.weight.requires_grad:
                bias = None if part.bias is None else part.bias.detach().bfloat16()
                part.forward = partial(_frozen_forward, part.weight.detach().bfloat16(), bias)  # type: ignore[method-assign]
                changed.append(part)
    try:
        yield
    finally:
        network.set_attn_implementation(before)
        for part in changed:
            del part.forward
