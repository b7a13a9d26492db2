"""Tensors as formulas over index variables: what a graph computes, whatever operators spell it.

A tensor is a formula and, for each of its dimensions, the index variables that run along it, major first. A `view`
then only regroups variables, a `permute` reorders them, a `gather` replaces one by "the k-th chosen"; einsum,
linear, matmul and bmm are all one product and one sum. So `x @ W.T` followed by `.view(B, S, E, C)` and
`einsum("bsh,ech->bsec")` are the same formula, and can be compared.

    Axis       a variable with its size; every source tensor has its own
    Digit      (axis // stride) % size: what is left of an axis when a view splits it
    Pick       the k-th chosen row of a selection, in place of a row's own variable
    Dim        Digits and Picks of one dimension, major first; () has size 1
    Leaf       an entry of a tensor that the graph holds or computes elsewhere
    Softmax    of a formula over the variables `over`
    Chosen     softmax over a selection's rows only, 0 at the others
    Restricted softmax over all rows, 0 at those not selected
    Product    coefficient times factors, summed over `bound`

Sizes are sympy expressions, so that a dynamic length is a size like any other.

`formulas` is the notation, `variables` what a formula depends on, `tensors` products and sums of two tensors.
"""

from spartanc.passes.index_notation.formulas import (
    Chosen,
    Digit,
    Dim,
    Formula,
    Inexpressible,
    Leaf,
    Masked,
    Membership,
    OneHot,
    Pick,
    Position,
    Product,
    Restricted,
    Selection,
    Softmax,
    new_dim,
    size,
    size_of,
)
from spartanc.passes.index_notation.tensors import Tensor, contract, summed, unify
from spartanc.passes.index_notation.variables import depends, merged, overlap, regroup, selections, substitute, without

__all__ = [
    "Chosen",
    "Digit",
    "Dim",
    "Formula",
    "Inexpressible",
    "Leaf",
    "Masked",
    "Membership",
    "OneHot",
    "Pick",
    "Position",
    "Product",
    "Restricted",
    "Selection",
    "Softmax",
    "Tensor",
    "contract",
    "depends",
    "merged",
    "new_dim",
    "overlap",
    "regroup",
    "selections",
    "size",
    "size_of",
    "substitute",
    "summed",
    "unify",
    "without",
]
