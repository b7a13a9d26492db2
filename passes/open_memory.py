"""The memory in stock operators with all of its tensors as inputs: one program for memories of several shapes.

Beside `lower_memory_portable`, which needs the memory's tensors and its top_k as constants and can then give all of it
to XNNPACK. Here neither the number of parents, of children, nor top_k is known when the program is made, so the choice
of parents is by rank, with top_k as data:

    p      = x · parents                                 parent logits
    rank_e = how many parents stand before e: those of larger p, and of equal p those of lower index (`before`)
    a      = softmax(p), with 1e30 taken off the parents of rank top_k and above: their exponential is 0
    b      = softmax over C of x · keys / T
    y      = (a b) · values

Legend: E parents, C children a parent, H hidden, B any leading dimensions.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

_FAR_BELOW = 1e30


def open_tensors(
    parents_EH: Tensor, keys_MH: Tensor, values_MH: Tensor, top_k: int, temperature: float
) -> dict[str, Tensor]:
    """The inputs of `open_memory` after x, by name and in its order."""
    count, hidden = parents_EH.shape
    return {
        "parents": parents_EH,
        "keys": (keys_MH / temperature).view(count, -1, hidden),
        "values": values_MH.view(count, -1, hidden),
        "before": torch.ones(count, count).tril(-1),
        "top_k": torch.tensor([float(top_k)]),
    }


def open_memory(
    x_BH: Tensor, parents_EH: Tensor, keys_ECH: Tensor, values_ECH: Tensor, before_EE: Tensor, top_k: Tensor
) -> Tensor:
    """What the memory adds to `x_BH`; top_k float [1]; before_EE[e, j] is 1 where j < e, else 0."""
    parents, children, _ = keys_ECH.shape
    p_BE = functional.linear(x_BH, parents_EH)
    other, own = p_BE.unsqueeze(-2), p_BE.unsqueeze(-1)
    rank_BE = ((other > own).to(p_BE.dtype) + (other == own).to(p_BE.dtype) * before_EE).sum(-1)
    off_BE = (top_k - 1 - rank_BE).clamp(-1.0, 0.0)
    a_BE = (p_BE + off_BE * _FAR_BELOW).softmax(-1)
    logits_BM = functional.linear(x_BH, keys_ECH.flatten(0, 1))
    b_BEC = logits_BM.view(*x_BH.shape[:-1], parents, children).softmax(-1)
    weights_BM = (b_BEC * a_BE.unsqueeze(-1)).view(*x_BH.shape[:-1], parents * children)
    return functional.linear(weights_BM, values_ECH.flatten(0, 1).t())
