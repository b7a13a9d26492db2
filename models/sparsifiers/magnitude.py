"""`magnitude`: the longest blocks stay."""

from __future__ import annotations

import torch
from torch import Tensor

from spartanc.models.sparsifiers.pool import Pool, best_within
from spartanc.models.sparsifiers.sparsifier import Sparsifier


class Magnitude(Sparsifier):
    name = "magnitude"

    def choose(self, pool: Pool) -> Tensor:
        with torch.no_grad():
            return best_within(pool.magnitudes(), pool.costs, pool.budget)


MAGNITUDE = Magnitude()
