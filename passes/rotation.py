"""Rotary positions in the form that passes know: before heads are put first, with tables that are stored.

    r = x * cos + matmul(x, turn) * sin        x, r [1, L, heads, d]; cos, sin [1, L, 1, d]; turn [d, d]

`turn` puts a head's halves in each other's place, the second with its sign changed. Every number of it is 0, 1 or -1.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.fx import Node

from spartanc.passes.rewrite import aten, shape_of


@dataclass(frozen=True)
class Rotation:
    """x: what is rotated; cos, sin: rows of the tables."""

    x: Node
    cos: Node
    sin: Node


def turning(size: int) -> Tensor:
    """[d, d]: x @ turning(d) is (-x2, x1) for x = (x1, x2)."""
    half = size // 2
    turn = torch.zeros(size, size)
    turn[half:, :half] = -torch.eye(half)
    turn[:half, half:] = torch.eye(half)
    return turn


def rotation(node: Node) -> Rotation | None:
    """What `node` rotates, if it is r above and nothing else reads a step of it."""
    if node.target is not aten.add.Tensor or not all(_is_product(each) for each in node.args):
        return None
    plain, turned = node.args
    matmul = turned.args[0]
    if not isinstance(matmul, Node) or matmul.target is not aten.matmul.default or len(matmul.users) > 1:
        return None
    if matmul.args[0] is not plain.args[0] or len(shape_of(matmul.args[1])) != 2:
        return None
    return Rotation(plain.args[0], plain.args[1], turned.args[1])


def _is_product(node: object) -> bool:
    if not isinstance(node, Node) or node.target is not aten.mul.Tensor or len(node.users) != 1:
        return False
    return all(isinstance(each, Node) for each in node.args)
