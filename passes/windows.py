"""Masks of sliding windows (ModernBERT): a position looks at those that are near, and that the attention mask keeps.

    m_ij = (kept if mask_j else masked) if |i - j| <= reach, else masked

As with masks of columns nothing is tried: |i - j| <= reach is read as it stands in the graph, between indices of rows
and of columns. From there to the mask every element has to keep its row and its column. The rest is proved by
`mask_values` with that square held at True, and at False.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.export import ExportedProgram
from torch.fx import Node

from spartanc.passes.mask_values import RESHAPING, is_pointwise, kept_and_masked, sources_of, values_of
from spartanc.passes.rewrite import aten, same_place, shape_of, size_key


@dataclass(frozen=True)
class Window:
    """reach: how far a position sees to either side; kept, masked: what is added to scores."""

    reach: int
    kept: float
    masked: float


def read_window(program: ExportedProgram, node: Node, mask: Node) -> Window | None:
    """The window that `node` [.., L, L] of floats is, made of `mask` [1, L]; None where it isn't proved to be one."""
    length = size_key(shape_of(mask))[1]
    if size_key(shape_of(node))[-2:] != (length, length):
        return None
    for near in sources_of(node):
        reach = _reach(program, near, mask)
        if reach is None or size_key(shape_of(near))[-2:] != (length, length) or not _stays_in_place(near, node):
            continue
        inside = kept_and_masked(program, node, mask, {near: True})
        outside = kept_and_masked(program, node, mask, {near: False})
        if inside is not None and outside == (inside[1], inside[1]):
            return Window(reach, *inside)
    return None


def _stays_in_place(near: Node, node: Node) -> bool:
    """Whether rows and columns of `near` are those of `node`, by every way that leads there."""
    needed, made_of_it = set(sources_of(node)), {near}
    for each in near.graph.nodes:
        operands = [source for source in each.all_input_nodes if source in made_of_it]
        if each not in needed or each is near or not operands or not isinstance(each.meta.get("val"), torch.Tensor):
            continue
        if not all(_keeps_the_square(each, operand) for operand in operands):
            return False
        made_of_it.add(each)
    return True


def _keeps_the_square(node: Node, operand: Node) -> bool:
    """Whether the last two dimensions of `operand` are the last two of `node`, both square."""
    before, after = shape_of(operand), shape_of(node)
    if size_key(before)[-2:] != size_key(after)[-2:]:
        return False
    if node.target in RESHAPING:
        return all(same_place(after, before, len(before) - at) == len(after) - at for at in (1, 2))
    return is_pointwise(node) or node.target is aten.expand.default


def _reach(program: ExportedProgram, near: Node, mask: Node) -> int | None:
    """r, where `near` is |i - j| <= r of rows i and columns j, or the reverse."""
    if near.target not in (aten.le.Scalar, aten.lt.Scalar):
        return None
    distance, most = near.args
    if distance.target is not aten.abs.default or distance.args[0].target is not aten.sub.Tensor:
        return None
    difference = distance.args[0]
    rank, counted = len(shape_of(difference)), set()
    if difference.kwargs.get("alpha", 1) != 1 or not all(isinstance(side, Node) for side in difference.args):
        return None
    for side in difference.args:
        dimension = values_of(program, side, mask).counts
        if dimension is not None:
            counted.add(dimension - len(shape_of(side)))  # from the end, as operands are lined up
    reach = most - (near.target is aten.lt.Scalar)
    return int(reach) if counted == {-1, -2} and rank >= 2 and isinstance(most, int) and reach >= 0 else None
