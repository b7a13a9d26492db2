"""`spartan`: blocks are scaled by a soft top-k of their lengths that sharpens, and only the best of them compute.

Source: Spartan, Tai et al., arXiv 2205.14107. A step computes with Pi(w * m(w)): m is the soft top-k of
`soft_top_k.py` over the blocks' lengths and costs, and Pi keeps what the budget allows. Gradients pass Pi as if it were
not there (dual averaging), so a block that computes nothing can come back. The budget shrinks from everything to its
size over the first part of the training, the sharpness grows to the end, and in the last part the choice stands still.
"""

from __future__ import annotations

import torch
from torch import Tensor

from spartanc.models.sparsifiers.pool import Pool, best_within
from spartanc.models.sparsifiers.soft_top_k import soft_top_k
from spartanc.models.sparsifiers.sparsifier import Masks, Sparsifier

FIRST, LAST = 1.0, 20.0  # sharpness, where lengths are in units of their mean
SHRINKS_UNTIL = 0.2  # share of the training over which the budget comes down


class Spartan(Sparsifier):
    """first, last: sharpness at the start and at the end, of lengths per cost in units of their mean."""

    name = "spartan"
    moves = True

    def __init__(self, first: float = FIRST, last: float = LAST, shrinks_until: float = SHRINKS_UNTIL) -> None:
        self.first, self.last, self.shrinks_until = first, last, shrinks_until

    def choose(self, pool: Pool) -> Tensor:
        with torch.no_grad():
            return best_within(pool.magnitudes(), pool.costs, pool.budget)

    def masks(self, pool: Pool, progress: float) -> Masks:
        budget = self.budget(pool, progress)
        lengths = pool.magnitudes()
        unit = (lengths.detach().double() / pool.costs).mean().clamp(min=torch.finfo(torch.float64).tiny)
        soft = soft_top_k(lengths / unit.to(lengths.dtype), pool.costs, budget, self.sharpness(progress))
        with torch.no_grad():
            kept = best_within(lengths, pool.costs, budget).float()
        return Masks(kept, torch.ones_like(kept), soft)

    def budget(self, pool: Pool, progress: float) -> float:
        """What may be spent in a step: from everything straight down to the pool's budget."""
        everything = float(pool.costs.sum())
        return everything + (pool.budget - everything) * min(progress / self.shrinks_until, 1.0)

    def sharpness(self, progress: float) -> float:
        return self.first + (self.last - self.first) * min(progress, 1.0)


SPARTAN = Spartan()
