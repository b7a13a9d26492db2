"""Masks on the weights of a module while it trains, by torch's parametrisations.

masking = Masking(sparsifier, pools, places)    # what `weight` is from now on is masked
masking.advance(progress)                       # before every forward pass of a step
loss = … + masking.penalty()
masking.finish()                                # the weights are plain again, zero where blocks went
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from spartanc.models.sparsifiers.pool import Pool
from spartanc.models.sparsifiers.sparsifier import Masks, Sparsifier

FROZEN_FROM = 0.7  # share of the training after which masks stand still, so that what is left can settle
EVERY = 10  # steps between two choices of a mask that has no gradient of its own

Place = tuple[nn.Module, str]  # a module and the name of one of its parameters


class _Gate(torch.autograd.Function):
    """weight * forward, whose gradient arrives where `backward` is 1."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, forward: Tensor, backward: Tensor) -> Tensor:
        ctx.save_for_backward(backward)
        return weight * forward

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return gradients[0] * ctx.saved_tensors[0], None, None


class _Masked(nn.Module):
    """torch calls it for what a weight is; `masks` are set from outside."""

    def __init__(self) -> None:
        super().__init__()
        self.masks: Masks | None = None

    def forward(self, weight: Tensor) -> Tensor:
        if self.masks is None:
            return weight
        scaled = weight if self.masks.soft is None else weight * self.masks.soft
        return _Gate.apply(scaled, self.masks.forward, self.masks.backward)


class Masking:
    """One sparsifier's masks on several pools; `places[i]` says where each weight of `pools[i]` stands."""

    def __init__(self, sparsifier: Sparsifier, pools: Sequence[Pool], places: Sequence[Sequence[Place]]) -> None:
        self.sparsifier, self.pools = sparsifier, pools
        self._gates: list[list[_Masked]] = []
        self._places = [list(each) for each in places]
        self._masks: list[Masks] = []
        self._steps = 0
        self._frozen = False
        for of_pool in self._places:
            gates = [_Masked() for _ in of_pool]
            for (module, name), gate in zip(of_pool, gates, strict=True):
                parametrize.register_parametrization(module, name, gate)
            self._gates.append(gates)

    def advance(self, progress: float) -> None:
        """The masks of the next step; progress: the share of the training that is done."""
        if self._frozen:
            return
        if progress >= FROZEN_FROM or (self._masks and not self.sparsifier.moves):
            self._freeze()
            return
        soft = bool(self._masks) and self._masks[0].soft is not None
        if soft or self._steps % EVERY == 0:
            self._masks = [self.sparsifier.masks(pool, progress) for pool in self.pools]
            self._put()
        self._steps += 1

    def penalty(self) -> Tensor | None:
        """What the sparsifier adds to the loss; None for nothing."""
        if self._frozen or not self._masks:
            return None
        given = [self.sparsifier.penalty(pool, masks) for pool, masks in zip(self.pools, self._masks, strict=True)]
        found = [each for each in given if each is not None]
        return torch.stack(found).sum() if found else None

    def _freeze(self) -> None:
        """Take the choice as it is: what is scaled softly now is scaled in the weight itself."""
        with torch.no_grad():
            if self.sparsifier.moves:
                self._masks = [self.sparsifier.masks(pool, FROZEN_FROM) for pool in self.pools]
            for of_pool, pool, masks in zip(self._places, self.pools, self._masks, strict=True):
                if masks.soft is None:
                    continue
                for (module, name), soft in zip(of_pool, pool.split(masks.soft), strict=True):
                    module.parametrizations[name].original.mul_(soft)
            self._masks = [Masks(masks.forward, masks.forward) for masks in self._masks]
        self._put()
        self._frozen = True

    def _put(self) -> None:
        for gates, pool, masks in zip(self._gates, self.pools, self._masks, strict=True):
            forward, backward = pool.split(masks.forward), pool.split(masks.backward)
            soft = [None] * len(gates) if masks.soft is None else pool.split(masks.soft)
            for gate, *three in zip(gates, forward, backward, soft, strict=True):
                gate.masks = Masks(*three)

    def kept(self) -> list[Tensor]:
        """The blocks of each pool that compute now, bool [N]."""
        return [masks.forward > 0 for masks in self._masks]

    def finish(self) -> list[Tensor]:
        """Leave plain weights, zero where blocks went; the blocks that stayed, bool [N] of each pool."""
        if not self._frozen:
            if not self._masks:
                self._masks = [self.sparsifier.masks(pool, FROZEN_FROM) for pool in self.pools]
            self._freeze()
        for of_pool in self._places:
            for module, name in of_pool:
                parametrize.remove_parametrizations(module, name, leave_parametrized=True)
        return self.kept()
