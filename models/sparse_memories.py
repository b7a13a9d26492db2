"""Keys and values of memories that are trained sparse: of every tensor a share of its numbers is zero in the end.

while it trains     masks on keys and values, moved by a sparsifier before every step
an evaluation       judges the memories as they would be if the training ended there: that sparse, and no less
a checkpoint        keeps the masks it was judged with beside the weights, and those that training goes on with
at the end          plain tensors with zeros, as dense as others to whoever reads the model
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from spartanc.errors import UsageError
from spartanc.models.classifier import SpartanClassifier
from spartanc.models.settings import TrainSettings
from spartanc.models.sparsifiers.catalogue import find_sparsifier
from spartanc.models.sparsifiers.masking import Masking
from spartanc.models.sparsifiers.pool import Pool

SPARSE_TENSORS = ("keys", "values")
CHOSEN_AT = 0.3  # share of the training after which a choice that never moves is made: before, weights say nothing
_MASKS = "memory_masks.pt"


class SparseMemories:
    """Masks on the memories of a classifier in training. Every tensor is a pool of its own, of single numbers."""

    def __init__(self, classifier: SpartanClassifier, sparsity: float, sparsifier: str):
        """sparsity: the share of zeros, above 0 and below 1. Raises UsageError where it leaves nothing."""
        places = [[(memory, name)] for memory in classifier.memories() for name in SPARSE_TENSORS]
        if not places:
            raise UsageError("the model has no memories to make sparse", hint="leave --memory-sparsity out")
        self._sparsifier = find_sparsifier(sparsifier)
        self._masking = Masking(self._sparsifier, [_pool(*place, sparsity) for (place,) in places], places)

    def advance(self, progress: float) -> None:
        """Before a step; progress: the share of the training that is done, from 0 to 1."""
        if self._sparsifier.moves or progress >= CHOSEN_AT:
            self._masking.advance(progress)
        else:
            self._masking.unproject()  # an evaluation may have been before

    def penalty(self) -> torch.Tensor | None:
        return self._masking.penalty()

    def project(self) -> None:
        """Before an evaluation: as sparse as in the end."""
        self._masking.project()

    def save(self, checkpoint: Path) -> None:
        torch.save(self._masking.state(), checkpoint / _MASKS)

    def load(self, checkpoint: Path) -> None:
        """The masks that belong to the weights of `checkpoint`. Raises UsageError where they are missing."""
        try:
            self._masking.restore(torch.load(checkpoint / _MASKS, map_location="cpu", weights_only=True))
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise UsageError(
                f"`{checkpoint}` holds no masks of memories: {error}", hint="train without --resume"
            ) from error

    def finish(self) -> None:
        """Leave plain parameters."""
        self._masking.finish()


def make_sparse(classifier: SpartanClassifier, settings: TrainSettings) -> SparseMemories | None:
    """Masks on the classifier's memories as the settings say; None where memories are dense."""
    if not settings.memory_sparsity:
        return None
    return SparseMemories(classifier, settings.memory_sparsity, settings.sparsifier)


def _pool(memory: torch.nn.Module, name: str, sparsity: float) -> Pool:
    weight: Any = getattr(memory, name)
    kept = round(weight.numel() * (1 - sparsity))
    if not kept:
        raise UsageError(f"memory sparsity `{sparsity:g}` keeps nothing of {weight.numel()} numbers")
    return Pool([weight], (), torch.ones(weight.numel(), dtype=torch.float64, device=weight.device), float(kept))
