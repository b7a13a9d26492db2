"""What every node of an exported graph computes, as formulas of `index_notation`.

`Dataflow(program, RULES)` walks the graph once, forward. A node whose operator it can express gets the formula of its
inputs' formulas; any other becomes a source tensor of its own, and `refusals` keeps why, if a selection of rows
(topk, sort) was lost by it. Operators are told apart by their targets, tensors by their shapes; names play no part.

    flow        the walk over the graph
    rules       what a rule is, and how a function becomes one
    operators   all rules in one table: a new file of rules is added there
    rearrange   views, copies, permutations, broadcasts        selection   topk, sort, max
    slices      a ranking cut to a shorter one                 weights     softmax
    constants   fills and ranges                               masks       one-hot, scatter, where
    pointwise   what only constants and masks go through       rows        gather, indexing
    arithmetic  add, multiply, divide                          products    linear, matmul, einsum, sum

The others are what rules share: `calls` reads a node's arguments, `layouts` makes dimensions, `recognise` asks what a
formula is, `reasons` are the refusals that several modules give.
"""

from spartanc.passes.dataflow.flow import Dataflow, constants_of
from spartanc.passes.dataflow.operators import RULES
from spartanc.passes.dataflow.pointwise import leads_to_threshold
from spartanc.passes.dataflow.reasons import NOT_NORMALISED, SMALLEST, THRESHOLD

__all__ = [
    "NOT_NORMALISED",
    "RULES",
    "SMALLEST",
    "THRESHOLD",
    "Dataflow",
    "constants_of",
    "leads_to_threshold",
]
