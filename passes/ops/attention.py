"""`spartan::attention`: attention of one sentence over a merged product of query, key and value.

    packed [1, L, 3 H] = q, k, v side by side;   or q [1, Q, H] and packed [1, L, 2 H] = k, v
    s_hij = q_hi · k_hj + mask_j                 for each of the heads, which divide H
    out   = softmax(s) v                         [1, Q, H], Q = L without a q of its own

`spartan::attention_half` is the same for programs of rounded linears: kernels may compute it in half precision.

mask has L numbers, or is absent; the scale of the scores is folded into q. XNNPACK would copy queries, keys and values
apart, transpose each, and store a square of scores a head; the kernel reads them where the product left them.
The eager reference below is the definition; kernels are tested against float64.
"""

from __future__ import annotations

import torch
from torch import Tensor

from spartanc.passes.ops.define import define_operator

_ARGUMENTS = "Tensor? q, Tensor packed, Tensor? mask, int heads"


def attention(q: Tensor | None, packed: Tensor, mask: Tensor | None, heads: int) -> Tensor:
    """Attention [1, Q, H]; raises RuntimeError where shapes disagree."""
    q_hid, k_hjd, v_hjd = split_heads(q, packed, heads)
    scores = q_hid @ k_hjd.transpose(1, 2)
    if mask is not None:
        scores = scores + mask.reshape(-1)
    return (scores.softmax(-1) @ v_hjd).transpose(0, 1).flatten(1).unsqueeze(0)


def split_heads(q: Tensor | None, packed: Tensor, heads: int) -> tuple[Tensor, Tensor, Tensor]:
    """q [heads, Q, d], k and v [heads, L, d]; raises RuntimeError where shapes disagree."""
    parts = 3 if q is None else 2
    torch._check(
        packed.dim() == 3 and packed.shape[0] == 1 and packed.shape[2] % (parts * heads) == 0,
        lambda: f"packed must be [1, L, {parts} * H] of {heads} whole heads, got {list(packed.shape)}",
    )
    q, k, v = packed.chunk(3, -1) if q is None else (q, *packed.chunk(2, -1))
    torch._check(q.shape[2] == k.shape[2], lambda: f"q must be [1, Q, {k.shape[2]}], got {list(q.shape)}")
    q_hid, k_hjd, v_hjd = (each[0].unflatten(-1, (heads, -1)).transpose(0, 1) for each in (q, k, v))
    return q_hid, k_hjd, v_hjd


def result_shape(q, packed, mask, heads):
    return packed.new_empty(1, packed.shape[1], packed.shape[2] // 3) if q is None else torch.empty_like(q)


def register() -> None:
    define_operator("attention", _ARGUMENTS, attention, result_shape)
    define_operator("attention_half", _ARGUMENTS, attention, result_shape)
