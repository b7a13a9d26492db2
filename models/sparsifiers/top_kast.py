"""`top-kast`: always sparse; more blocks learn than compute, so that others may take their place.

Source: Top-KAST, Jayakumar et al., arXiv 2106.03517. A step computes with the set A, the largest blocks within the
budget; gradients arrive at B, which holds A and the next largest. Blocks of B that compute nothing are pulled to zero
more strongly than those of A, by the inverse of A's density: what stands still loses its place (the exploration
penalty).
"""

from __future__ import annotations

import torch
from torch import Tensor

from spartanc.models.sparsifiers.pool import Pool, best_within
from spartanc.models.sparsifiers.sparsifier import Masks, Sparsifier

WIDER = 1.5  # what B may cost, in budgets
PENALTY = 1e-4  # strength of the L2 penalty (the paper's weight decay for images)


class TopKast(Sparsifier):
    """wider: what B may cost, in budgets of A. strength: of the penalty."""

    name = "top-kast"
    moves = True

    def __init__(self, wider: float = WIDER, strength: float = PENALTY) -> None:
        self.wider, self.strength = wider, strength

    def choose(self, pool: Pool) -> Tensor:
        with torch.no_grad():
            return best_within(pool.magnitudes() * pool.costs, pool.costs, pool.budget)

    def masks(self, pool: Pool, progress: float) -> Masks:
        with torch.no_grad():
            longest = pool.magnitudes() * pool.costs  # `best_within` divides by costs: the paper's order is by length
            forward = best_within(longest, pool.costs, pool.budget)
            backward = best_within(longest, pool.costs, self.wider * pool.budget)
        return Masks(forward.float(), backward.float())

    def penalty(self, pool: Pool, masks: Masks) -> Tensor:
        """Strength times the sum of squares: those of A as they are, those of B beyond A over A's density."""
        density = masks.forward.mean().clamp(min=1 / len(masks.forward))
        factors = masks.forward + (masks.backward - masks.forward) / density
        return self.strength * (factors * pool.magnitudes().square()).sum()


TOP_KAST = TopKast()
