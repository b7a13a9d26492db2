"""Soft top-k with costs: the solution of a regularised transport problem, with its gradient.

Source: Spartan, Tai et al., arXiv 2205.14107. Items have values v and costs c, and k may be spent. Each item moves
mass c_i to `kept` or `dropped`; k arrives at `kept`. Moving a unit of item i to `kept` earns v_i / c_i, and the entropy
of the plan is rewarded with 1 / sharpness. What item i moves to `kept`, over c_i, is

    m_i = sigmoid(sharpness * v_i / c_i + mu),    mu such that sum_i c_i m_i = k

With growing sharpness m becomes the hard choice by value per cost, but for the item that the budget cuts.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

_STEPS = 200


def soft_top_k(values_N: Tensor, costs_N: Tensor, budget: float, sharpness: float) -> Tensor:
    """m [N] in the values' type, solved to 1e-9 of the budget; its gradient in the values is the implicit one.

    All ones where everything is within the budget. Raises ValueError where the budget or the sharpness is not above 0.
    """
    if budget <= 0 or sharpness <= 0:
        raise ValueError(f"budget and sharpness must be above 0, got {budget:g} and {sharpness:g}")
    if budget >= float(costs_N.sum()):
        return torch.ones_like(values_N)
    chosen: Tensor = _SoftTopK.apply(values_N, costs_N.double(), float(budget), float(sharpness))
    return chosen


class _SoftTopK(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values_N: Tensor, costs_N: Tensor, budget: float, sharpness: float) -> Tensor:
        scaled_N = sharpness * values_N.detach().double() / costs_N
        mask_N = torch.sigmoid(scaled_N + _threshold(scaled_N, costs_N, budget))
        ctx.save_for_backward(mask_N, costs_N)
        ctx.sharpness, ctx.type = sharpness, values_N.dtype
        return mask_N.to(values_N.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        mask_N, costs_N = ctx.saved_tensors
        slope_N = mask_N * (1 - mask_N)  # of the sigmoid
        given_N = gradients[0].double()
        # Where one value rises mu falls, so that the sum of costs stays: its derivative is -slope_i / sum(c slope).
        shared = (given_N * slope_N).sum() / (costs_N * slope_N).sum().clamp(min=torch.finfo(torch.float64).tiny)
        return (ctx.sharpness * slope_N * (given_N / costs_N - shared)).to(ctx.type), None, None, None


def _threshold(scaled_N: Tensor, costs_N: Tensor, budget: float) -> Tensor:
    """mu, by bisection between where nearly nothing and nearly everything is kept: the sum of costs grows with it."""
    margin = 50 + float((costs_N.sum() / budget).log()) + float(costs_N.sum() / costs_N.min() + 1)
    low, high = -scaled_N.max() - margin, -scaled_N.min() + margin
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if bool((costs_N * torch.sigmoid(scaled_N + middle)).sum() < budget):
            low = middle
        else:
            high = middle
        if bool(high - low <= 1e-14 * middle.abs().clamp(min=1)):
            break
    return (low + high) / 2
