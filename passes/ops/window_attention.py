"""`spartan::window_attention`: `spartan::attention` of which every position looks at near ones alone (ModernBERT).

    s_hij = q_hi · k_hj + mask_j if |i - j| <= reach, else nothing

q, packed and mask as in `spartan::attention`; queries are the first of the positions. `spartan::window_attention_half`
is to it what `spartan::attention_half` is to that.

Stock operators compute the whole square of scores and take most of it out again; the kernel computes what the windows
of a few queries hold, so that time grows with the length of a text and not with its square.
The eager reference below is the definition; kernels are tested against float64.
"""

from __future__ import annotations

import torch
from torch import Tensor

from spartanc.passes.ops.attention import result_shape, split_heads
from spartanc.passes.ops.define import define_operator

_ARGUMENTS = "Tensor? q, Tensor packed, Tensor? mask, int heads, int reach"


def window_attention(q: Tensor | None, packed: Tensor, mask: Tensor | None, heads: int, reach: int) -> Tensor:
    """Attention [1, Q, H]; raises RuntimeError where shapes disagree."""
    q_hid, k_hjd, v_hjd = split_heads(q, packed, heads)
    queries, positions = q_hid.shape[1], k_hjd.shape[1]
    torch._check(reach >= 0, lambda: f"reach must not be negative, got {reach}")
    torch._check(queries <= positions, lambda: f"Q must be at most L, got {queries} and {positions}")
    scores_hij = q_hid @ k_hjd.transpose(1, 2)
    if mask is not None:
        scores_hij = scores_hij + mask.reshape(-1)
    distance_ij = torch.arange(queries)[:, None] - torch.arange(positions)[None, :]
    scores_hij = scores_hij.masked_fill(distance_ij.abs() > reach, float("-inf"))
    return (scores_hij.softmax(-1) @ v_hjd).transpose(0, 1).flatten(1).unsqueeze(0)


def _shape(q, packed, mask, heads, reach):
    return result_shape(q, packed, mask, heads)


def register() -> None:
    define_operator("window_attention", _ARGUMENTS, window_attention, _shape)
    define_operator("window_attention_half", _ARGUMENTS, window_attention, _shape)
