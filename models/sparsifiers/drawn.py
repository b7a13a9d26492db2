"""`random`: blocks are drawn; what every other way has to beat."""

from __future__ import annotations

import torch
from torch import Tensor

from spartanc.models.sparsifiers.pool import Pool, best_within
from spartanc.models.sparsifiers.sparsifier import Sparsifier


class Drawn(Sparsifier):
    """seed: of the draw, so that a pool of one size gives one answer."""

    name = "random"

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def choose(self, pool: Pool) -> Tensor:
        drawn = torch.rand(len(pool.costs), generator=torch.Generator().manual_seed(self.seed), dtype=torch.float64)
        drawn = drawn.to(pool.costs.device)  # drawn on the processor, so alike everywhere
        return best_within(drawn * pool.costs, pool.costs, pool.budget)  # the order is the draw's, whatever they cost


DRAWN = Drawn()
