"""`second-order`: blocks go whose removal costs least once the others have made up for it.

Source: Optimal Brain Surgeon (Hassibi and Stork 1993), for blocks. A few go at a time: what a removal costs changes
with those that are gone.
"""

from __future__ import annotations

import torch
from torch import Tensor

from spartanc.models.sparsifiers.pool import Pool, best_within
from spartanc.models.sparsifiers.sparsifier import Sparsifier

ROUNDS = 8


class SecondOrder(Sparsifier):
    name = "second-order"
    needs_saliency = True

    def choose(self, pool: Pool) -> Tensor:
        assert pool.saliency is not None, "the pool must know what a removal costs"
        kept = torch.ones_like(pool.costs, dtype=torch.bool)
        everything = float(pool.costs.sum())
        for done in range(1, ROUNDS + 1):
            budget = everything + (pool.budget - everything) * done / ROUNDS
            if budget >= everything:
                break
            worth = pool.saliency(kept).double().clamp(min=0)
            worth[~kept] = -1  # what is gone stays gone
            kept &= best_within(worth, pool.costs, budget)
        return kept


SECOND_ORDER = SecondOrder()
