"""All operators that have a rule."""

from __future__ import annotations

from spartanc.passes.dataflow import (
    arithmetic,
    constants,
    masks,
    pointwise,
    products,
    rearrange,
    rows,
    selection,
    slices,
    weights,
)
from spartanc.passes.dataflow.rules import Rules

RULES = Rules()
for module in (rearrange, slices, constants, pointwise, arithmetic, products, selection, weights, masks, rows):
    RULES.add(module.rule)
