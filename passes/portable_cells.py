"""The cells of a memory in operators that XNNPACK takes: all of them computed, weighted by their parents.

For C cells a parent, with a = parent weights, E = number of parents, keys divided by the temperature:

summed   e = exp(linear(x, keys - the mean key of their parent))
         y = linear(e * linear(a / linear(e, sums), spread), values)

    `sums` adds up the cells under every parent, `spread` gives every cell its parent's number: matrices of zeros and
    ones. A softmax does not change when all logits under a parent move by one number, and so not by the keys' mean;
    that no exponential overflows or vanishes is not left to chance: x has to come out of a LayerNorm with constant
    weights, which bounds its length and so, by Cauchy and Schwarz, every logit: at most `LARGEST_LOGIT`.

split    c_j = linear(x, keys_j), e_j = exp(c_j - max_j c_j)              j = 0 .. C-1, the j-th cell of every parent
         y   = sum_j linear(e_j * (a / sum_j e_j), values_j)

    For any x, with twice the operators. Cells stand apart by their place under the parent, so that no tensor changes
    its rank: a view of a dynamic length costs a delegate call.

viewed   b = softmax over C of view(linear(x, keys), [.., E, C])
         y = linear(view(b * a, [.., E * C]), values)

    For any x and more than `SPLIT_CELLS` cells a parent, where the operators of `split` would be too many.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.fx import Node

from spartanc.passes.emitter import Constants, Emitter
from spartanc.passes.rewrite import aten, inferable

LARGEST_LOGIT = 60.0  # e^60 and e^-60, summed and divided, are far from the ends of fp32
SPLIT_CELLS = 8
SUMMED_PARENTS = 32  # `sums` and `spread` take 2 E^2 C multiply-adds a position


def weighted_cells(
    emit: Emitter, constants: Constants, x: Node, a: Node, keys_MH: Tensor, values_MH: Tensor, parents: int
) -> tuple[str, Node]:
    """The sum of the values of all cells, weighted within each parent and by `a` [.., E]; the form's name first."""
    keys_ECH = keys_MH.view(parents, -1, keys_MH.shape[-1])
    values_ECH = values_MH.view(keys_ECH.shape)
    centred_ECH = keys_ECH - keys_ECH.mean(1, keepdim=True)
    if parents <= SUMMED_PARENTS and largest_logit(constants, x, centred_ECH) <= LARGEST_LOGIT:
        return "summed cells", _summed(emit, x, a, centred_ECH, values_ECH)
    if keys_ECH.shape[1] > SPLIT_CELLS and inferable(x.meta["val"].shape[:-1]) is not None:
        return "viewed cells", _viewed(emit, x, a, keys_ECH, values_ECH)
    return "split cells", _split(emit, x, a, keys_ECH, values_ECH)


def largest_logit(constants: Constants, x: Node, keys_ECH: Tensor) -> float:
    """No logit of `keys_ECH` is larger, nor less than the negative of it, for any input; inf where x is not bounded.

    What a LayerNorm gives is z * weight + bias with |z| <= sqrt(H): z has mean 0 and at most variance 1.
    """
    H = keys_ECH.shape[-1]
    if x.target is not aten.layer_norm.default or x.args[1] != [H]:
        return math.inf
    weight, bias = (
        constants.value(x.args[i]) if len(x.args) > i and x.args[i] is not None else default
        for i, default in ((2, torch.ones(H)), (3, torch.zeros(H)))
    )
    if weight is None or bias is None:
        return math.inf
    keys_ECH, weight, bias = keys_ECH.double(), weight.double(), bias.double()
    bound_EC = math.sqrt(H) * (keys_ECH * weight).norm(dim=-1) + (keys_ECH @ bias).abs()
    largest = float(bound_EC.max())
    return math.inf if math.isnan(largest) else largest


def _summed(emit: Emitter, x: Node, a: Node, keys_ECH: Tensor, values_ECH: Tensor) -> Node:
    E, C, H = keys_ECH.shape
    spread = torch.eye(E).repeat_interleave(C, dim=0)  # [M, E]
    e = emit(aten.exp.default, emit.linear(x, emit.constant("keys", keys_ECH.reshape(E * C, H))))
    sums = emit.linear(e, emit.shared(f"portable_memory_sums_{E}_{C}", spread.T))
    scale = emit.linear(emit(aten.div.Tensor, a, sums), emit.shared(f"portable_memory_spread_{E}_{C}", spread))
    return emit.linear(emit(aten.mul.Tensor, e, scale), emit.constant("values", values_ECH.reshape(E * C, H).T))


def _viewed(emit: Emitter, x: Node, a: Node, keys_ECH: Tensor, values_ECH: Tensor) -> Node:
    E, C, H = keys_ECH.shape
    lead = inferable(x.meta["val"].shape[:-1])
    assert lead is not None
    logits = emit.linear(x, emit.constant("keys", keys_ECH.reshape(E * C, H)))
    b = emit(aten.softmax.int, emit(aten.view.default, logits, [*lead, E, C]), -1)
    w = emit(aten.mul.Tensor, b, emit(aten.unsqueeze.default, a, -1))
    w = emit(aten.view.default, w, [*lead, E * C])
    return emit.linear(w, emit.constant("values", values_ECH.reshape(E * C, H).T))


def _split(emit: Emitter, x: Node, a: Node, keys_ECH: Tensor, values_ECH: Tensor) -> Node:
    C = keys_ECH.shape[1]
    logits_C = [emit.linear(x, emit.constant(f"keys_{j}", keys_ECH[:, j])) for j in range(C)]
    largest = emit.fold(aten.maximum.default, logits_C)
    exp_C = [emit(aten.exp.default, emit(aten.sub.Tensor, c, largest)) for c in logits_C]
    scale = emit(aten.div.Tensor, a, emit.fold(aten.add.Tensor, exp_C))
    terms = [
        emit.linear(emit(aten.mul.Tensor, e, scale), emit.constant(f"values_{j}", values_ECH[:, j].T))
        for j, e in enumerate(exp_C)
    ]
    return emit.fold(aten.add.Tensor, terms)
