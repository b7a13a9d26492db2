"""Blocks of weights that compete for one budget of cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from spartanc.errors import UsageError

Saliency = Callable[[Tensor], Tensor]


@dataclass
class Pool:
    """Blocks of one or several weights, of which as many are kept as the budget allows.

    weights: the tensors. block: which of their dimensions a block spans, with its whole length: (0,) makes a block of
    every column of a matrix, () of every number.
    costs: float64 [N] on the weights' device, what keeping each block costs, in any unit (modelled milliseconds);
    blocks of the first weight come first. budget: what kept blocks may cost together.
    saliency: what is lost if a block is removed beside those that are gone already, float [N] from the blocks that are
    still kept, bool [N]; None where nobody knows it.
    """

    weights: Sequence[Tensor]
    block: tuple[int, ...]
    costs: Tensor
    budget: float
    saliency: Saliency | None = None

    def __post_init__(self) -> None:
        count = sum(self.blocks_of(weight).numel() for weight in self.weights)
        if self.costs.shape != (count,):
            raise ValueError(f"{count} blocks need as many costs, got {tuple(self.costs.shape)}")
        if not bool((self.costs > 0).all()):
            raise ValueError("costs must be above 0")
        if not self.budget > 0:
            raise UsageError(f"a budget of `{self.budget:g}` keeps nothing", hint="ask for less sparsity")

    def blocks_of(self, weight: Tensor) -> Tensor:
        """One number a block: its length (L2 norm); gradients flow through it."""
        return weight.square().sum(self.block).sqrt() if self.block else weight.abs()

    def magnitudes(self) -> Tensor:
        """Length of every block [N]."""
        return torch.cat([self.blocks_of(weight).flatten() for weight in self.weights])

    def split(self, blocks_N: Tensor) -> list[Tensor]:
        """Numbers of blocks, for each weight in a shape that multiplies it."""
        shapes = [self._shape(weight) for weight in self.weights]
        parts = blocks_N.split([shape.numel() for shape in shapes])
        return [part.view(shape) for part, shape in zip(parts, shapes, strict=True)]

    def _shape(self, weight: Tensor) -> torch.Size:
        return torch.Size(1 if axis in self.block else size for axis, size in enumerate(weight.shape))


def best_within(worth_N: Tensor, costs_N: Tensor, budget: float) -> Tensor:
    """The blocks to keep, bool [N]: by worth per cost, the first first, as long as the budget lasts.

    Of equal ones the lower indices are kept. With equal costs these are the top k.
    """
    order = (worth_N.double() / costs_N).sort(descending=True, stable=True).indices
    spent = costs_N[order].cumsum(0)
    kept = torch.zeros_like(order, dtype=torch.bool)
    kept[order] = spent <= budget * (1 + 1e-9)
    return kept
