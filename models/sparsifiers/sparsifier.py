"""What a sparsifier decides: which blocks of a pool stay, before a training and while it runs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from spartanc.models.sparsifiers.pool import Pool


@dataclass(frozen=True)
class Masks:
    """What blocks of a pool are multiplied by in a step, [N] each.

    forward: 0 or 1. backward: blocks whose gradients arrive, 0 or 1. soft: between 0 and 1, with its gradient, where
    kept blocks are scaled; None where they are as they are.
    """

    forward: Tensor
    backward: Tensor
    soft: Tensor | None = None


class Sparsifier(ABC):
    """One way to choose. `name` is as `--sparsifier` takes it.

    moves: whether masks change in training; of the others `choose` is asked once.
    needs_saliency: whether it asks the pool what a removal costs.
    """

    name: str
    moves = False
    needs_saliency = False

    @abstractmethod
    def choose(self, pool: Pool) -> Tensor:
        """The blocks that stay, bool [N], within the pool's budget; of the weights as they are."""

    def masks(self, pool: Pool, progress: float) -> Masks:
        """The masks of a step. progress: the share of the training that is done, from 0 to 1."""
        kept = self.choose(pool).to(torch.get_default_dtype())
        return Masks(kept, kept)

    def penalty(self, pool: Pool, masks: Masks) -> Tensor | None:
        """What is added to the loss of a step; None for nothing."""
        return None
