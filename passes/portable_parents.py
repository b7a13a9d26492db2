"""The choice of parents in operators that XNNPACK takes: no topk, no comparison.

    r   = linear(clamp(linear(p, pairs), 0, 2^-100), places)     how many parents stand before each
    off = clamp(top_k - 1 - r, -1, 0)                            0 for the chosen parents, -1 for the others

`pairs` holds one row for every two parents lo < hi, with the difference p_hi - p_lo scaled up by 2^63; all that the
clamp leaves of it is its sign, as 0 or 2^-100. `places` holds 2^100 and adds up, for every parent, how many others
stand before it. The first product adds two terms that are not zero, the second small integers: the place of a parent
is exact, and of two equal parents the lower index stands first, as the operator's definition says. The scales
multiply to 2^163, enough for the smallest difference that fp32 has, and p may be as large as 2^64.

Above `RANKED_PARENTS` parents the pairs cost more than they save (E^3 multiply-adds a position), and the K-th logit
comes from aten.topk, which is then the one operator outside XNNPACK; equal logits are still settled by index.
"""

from __future__ import annotations

import itertools
import operator

import torch
from torch import Tensor
from torch.fx import Node

from spartanc.passes.emitter import Emitter
from spartanc.passes.rewrite import aten

RANKED_PARENTS = 32

_FAR_BELOW = 2.0**100  # subtracted from the logit of a parent that was not chosen: its exponential is 0
_PAIR_SCALE = 2.0**63
_SIGN_SCALE = 2.0**100


def logits_of_equals(emit: Emitter, p: Node, parents_EH: Tensor) -> Node:
    """p with one logit for parents that are equal in every number: that of the first of them.

    In float32 a product may add up in another order for one column than for the next. Then equal parents would get
    logits a rounding apart, and the choice between them would not be by index. Copying by a product with zeros and ones
    is exact; where all parents differ, nothing is added to the program.
    """
    _, group_E = parents_EH.unique(dim=0, return_inverse=True)
    first_E = (group_E.unsqueeze(0) == group_E.unsqueeze(1)).int().argmax(1)
    if bool((first_E == torch.arange(len(first_E))).all()):
        return p
    return emit.linear(p, emit.constant("equal_parents", torch.eye(len(first_E))[first_E]))


def parent_weights(emit: Emitter, p: Node, E: int, top_k: int) -> tuple[str, Node]:
    """softmax over the `top_k` largest of p [.., E], 0 for the others."""
    if top_k == E:
        return "all parents", emit(aten.softmax.int, p, -1)
    if E <= RANKED_PARENTS:
        selection, off = "ranked", _off_by_rank(emit, p, E, top_k)
    else:
        selection, off = "topk", _off_by_threshold(emit, p, E, top_k)
    masked = emit(aten.add.Tensor, p, emit(aten.mul.Tensor, off, _FAR_BELOW))
    return selection, emit(aten.softmax.int, masked, -1)


def _off_by_rank(emit: Emitter, p: Node, E: int, top_k: int) -> Node:
    """0 where fewer than `top_k` parents stand before this one, else -1."""
    two = list(itertools.combinations(range(E), 2))
    pairs = torch.zeros(len(two), E)
    places = torch.zeros(E, len(two))
    one = _SIGN_SCALE  # times an indicator, which is 0 or 1 / _SIGN_SCALE
    bias = torch.full((E,), float(top_k - 1))
    for row, (low, high) in enumerate(two):  # the pair's indicator is not 0 where p_high > p_low
        pairs[row, high], pairs[row, low] = _PAIR_SCALE, -_PAIR_SCALE
        places[low, row] = -one  # then `high` stands before `low`
        places[high, row] = one  # else `low` stands before `high`: 1 - indicator, the 1 in the bias
        bias[high] -= 1.0
    difference = emit.linear(p, emit.shared(f"portable_memory_pairs_{E}", pairs))
    ahead = emit(aten.clamp.default, difference, 0.0, 1 / _SIGN_SCALE)
    place_weight = emit.shared(f"portable_memory_places_{E}", places)
    place_bias = emit.shared(f"portable_memory_places_{E}_of_{top_k}", bias)
    return emit(aten.clamp.default, emit.linear(ahead, place_weight, place_bias), -1.0, 0.0)


def _off_by_threshold(emit: Emitter, p: Node, E: int, top_k: int) -> Node:
    """As above from the K-th largest logit: all above it are chosen, of those equal to it the first few."""
    largest = emit(operator.getitem, emit(aten.topk.default, p, top_k), 0)
    kth = emit(aten.slice.Tensor, largest, -1, top_k - 1, top_k)

    def is_positive(difference: Node) -> Node:
        scaled = emit(aten.mul.Tensor, emit(aten.mul.Tensor, difference, _PAIR_SCALE), _SIGN_SCALE)
        return emit(aten.clamp.default, scaled, 0.0, 1.0)

    above = is_positive(emit(aten.sub.Tensor, p, kth))
    below = is_positive(emit(aten.sub.Tensor, kth, p))
    equal = emit(aten.sub.Tensor, emit(aten.mul.Tensor, emit(aten.add.Tensor, above, below), -1.0), -1.0)
    equal_so_far = emit.linear(equal, emit.shared(f"portable_memory_so_far_{E}", torch.ones(E, E).tril()))
    chosen_above = emit.linear(above, emit.shared(f"portable_memory_total_{E}", torch.ones(E, E)))
    # An equal one is chosen while it and those before it fit beside the ones above: 0 or less is "fits".
    excess = emit(aten.add.Tensor, equal_so_far, emit(aten.sub.Tensor, chosen_above, float(top_k)))
    too_late = emit(aten.mul.Tensor, equal, emit(aten.clamp.default, excess, 0.0, 1.0))
    return emit(aten.mul.Tensor, emit(aten.add.Tensor, below, too_late), -1.0)
