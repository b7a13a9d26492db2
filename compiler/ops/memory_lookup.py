"""`spartan::memory_lookup`: one position's walk through the two-level memory, as one operator.

Source: SPARTAN, arXiv 2211.16634, section 3. For every position's vector x of length H:

    p_E  = parents_EH · x                   parent logits
    S    = the `top_k` largest of p         exact ties take the lower index
    a_S  = softmax(p_S)
    c_eC = keys_e · x / temperature         for e in S; C = M / E cells a parent
    b_eC = softmax(c_e)                     within one parent
    y_H  = sum_e a_e sum_m b_em values_em

Legend: B any leading dimensions, H hidden size, E parents, M cells in all (parent-major), C cells a parent, K top_k.
The eager reference below is the definition: kernels are tested against it, and against float64.
"""

from __future__ import annotations

import torch
from torch import Tensor

NAMESPACE = "spartan"
_library = torch.library.Library(NAMESPACE, "FRAGMENT")

_ARGUMENTS = "Tensor x, Tensor parents, Tensor keys, Tensor values, int top_k, float temperature"
_library.define(f"memory_lookup({_ARGUMENTS}) -> Tensor")
_library.define(f"memory_lookup.out({_ARGUMENTS}, *, Tensor(a!) out) -> Tensor(a!)")


def memory_lookup(
    x_BH: Tensor, parents_EH: Tensor, keys_MH: Tensor, values_MH: Tensor, top_k: int, temperature: float
) -> Tensor:
    """What the memory adds to `x_BH` [..., H]; result of the same shape and type.

    parents_EH [E, H]; keys_MH and values_MH [M, H], the C = M/E cells of parent e at rows e*C to e*C + C - 1.
    Raises RuntimeError where shapes disagree, M is not a multiple of E, or top_k is not within 1 to E.
    """
    _check(x_BH, parents_EH, keys_MH, values_MH, top_k)
    parent_count, cells = parents_EH.shape[0], keys_MH.shape[0]
    logits_BE = x_BH @ parents_EH.T
    # A stable descending sort gives ties to the lower index; torch.topk does not.
    chosen_BK = torch.sort(logits_BE, dim=-1, descending=True, stable=True).indices[..., :top_k]
    parent_weights_BK = logits_BE.gather(-1, chosen_BK).softmax(-1)
    weights_BE = torch.zeros_like(logits_BE).scatter(-1, chosen_BK, parent_weights_BK)
    child_logits_BEC = (x_BH @ keys_MH.T / temperature).unflatten(-1, (parent_count, cells // parent_count))
    child_weights_BEC = child_logits_BEC.softmax(-1) * weights_BE.unsqueeze(-1)
    return child_weights_BEC.flatten(-2) @ values_MH


def _check(x: Tensor, parents: Tensor, keys: Tensor, values: Tensor, top_k: int) -> None:
    hidden = x.shape[-1]
    torch._check(parents.dim() == 2 and parents.shape[1] == hidden, lambda: f"parents must be [E, {hidden}]")
    torch._check(keys.dim() == 2 and keys.shape[1] == hidden, lambda: f"keys must be [M, {hidden}]")
    torch._check(values.shape == keys.shape, lambda: "values must have the shape of keys")
    torch._check(keys.shape[0] % parents.shape[0] == 0, lambda: "M must be a multiple of E")
    torch._check(1 <= top_k <= parents.shape[0], lambda: f"top_k must be within 1 and E, got {top_k}")


@torch.library.impl(_library, "memory_lookup.out", "CompositeExplicitAutograd")
def _memory_lookup_out(x, parents, keys, values, top_k, temperature, *, out):
    return out.copy_(memory_lookup(x, parents, keys, values, top_k, temperature))


@torch.library.register_fake(f"{NAMESPACE}::memory_lookup", lib=_library)
def _memory_lookup_shape(x, parents, keys, values, top_k, temperature):
    return torch.empty_like(x)


_library.impl("memory_lookup", memory_lookup, "CompositeExplicitAutograd")
