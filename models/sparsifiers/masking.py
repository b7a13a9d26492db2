"""Masks on the weights of a module while it trains.

masking = Masking(sparsifier, pools, places)    # what `weight` is from now on is masked
masking.advance(progress)                       # before every forward pass of a step
loss = … + masking.penalty()
masking.project()                               # before an evaluation: as sparse as in the end
masking.unproject()                             # after it: as in training; `advance` does that too
masking.finish()                                # the weights are plain again, zero where blocks went
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from spartanc.models.sparsifiers.masked_weights import parameter_of, read_plainly, read_through
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


class _Masked:
    """What a weight is read through; `masks` are set from outside."""

    def __init__(self) -> None:
        self.masks: Masks | None = None

    def __call__(self, weight: Tensor) -> Tensor:
        if self.masks is None:
            return weight
        scaled = weight if self.masks.soft is None else weight * self.masks.soft
        return _Gate.apply(scaled, self.masks.forward, self.masks.backward)


def _as_dict(masks: Masks | None) -> dict[str, Tensor | None] | None:
    if masks is None:
        return None
    soft = None if masks.soft is None else masks.soft.detach()
    return {"forward": masks.forward, "backward": masks.backward, "soft": soft}


def _from_dict(kept: dict[str, Any], device: torch.device) -> Masks:
    return Masks(**{name: None if x is None else x.to(device) for name, x in kept.items()})


class Masking:
    """One sparsifier's masks on several pools; `places[i]` says where each weight of `pools[i]` stands."""

    def __init__(self, sparsifier: Sparsifier, pools: Sequence[Pool], places: Sequence[Sequence[Place]]) -> None:
        self.sparsifier, self.pools = sparsifier, pools
        self._gates: list[list[_Masked]] = []
        self._places = [list(each) for each in places]
        self._masks: list[Masks] = []
        self._steps = 0
        self._frozen = False
        self._projected = False  # gates show other masks than those of training
        for of_pool in self._places:
            gates = [_Masked() for _ in of_pool]
            for (module, name), gate in zip(of_pool, gates, strict=True):
                read_through(module, name, gate)
            self._gates.append(gates)

    def advance(self, progress: float) -> None:
        """The masks of the next step; progress: the share of the training that is done."""
        if self._frozen:
            return
        self.unproject()
        if progress >= FROZEN_FROM or (self._masks and not self.sparsifier.moves):
            self._freeze()
            return
        soft = bool(self._masks) and self._masks[0].soft is not None
        if soft or self._steps % EVERY == 0:
            self._masks = [self.sparsifier.masks(pool, progress) for pool in self.pools]
            self._put(self._masks)
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
            self._masks = self._choice()
            for of_pool, pool, masks in zip(self._places, self.pools, self._masks, strict=True):
                if masks.soft is None:
                    continue
                for (module, name), soft in zip(of_pool, pool.split(masks.soft), strict=True):
                    parameter_of(module, name).mul_(soft)
            self._masks = [Masks(masks.forward, masks.forward) for masks in self._masks]
        self._put(self._masks)
        self._frozen = True

    def project(self) -> None:
        """Show the weights as they would be if masks were frozen now, until `unproject` or the next step."""
        if not self._frozen:
            with torch.no_grad():
                self._put(self._choice())
            self._projected = True

    def unproject(self) -> None:
        """Show the weights as training has them."""
        if not self._projected:
            return
        self._projected = False
        if self._masks:
            self._put(self._masks)
            return
        for gate in (gate for gates in self._gates for gate in gates):
            gate.masks = None

    def _choice(self) -> list[Masks]:
        """What freezing now would keep: what was chosen before, unless it moves."""
        if self._masks and not self.sparsifier.moves:
            return self._masks
        return [self.sparsifier.masks(pool, FROZEN_FROM) for pool in self.pools]

    def state(self) -> dict[str, Any]:
        """What weights are masked with now, and how training goes on from here, in tensors and plain values."""
        shown = [[gate.masks for gate in gates] for gates in self._gates]
        return {
            "frozen": self._frozen,
            "steps": self._steps,
            "masks": [[_as_dict(masks) for masks in of_pool] for of_pool in shown],
            "training": [_as_dict(masks) for masks in self._masks],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Mask as when `state` was taken. ValueError where it is of other pools."""
        for gates, pool, given in zip(self._gates, self.pools, state["masks"], strict=True):
            for gate, weight, each in zip(gates, pool.weights, given, strict=True):
                gate.masks = None if each is None else _from_dict(each, weight.device)
        training = zip(state["training"], self.pools, strict=False)  # empty before a first choice
        self._masks = [_from_dict(each, pool.weights[0].device) for each, pool in training]
        self._steps = state["steps"]
        self._frozen, self._projected = state["frozen"], not state["frozen"]

    def _put(self, chosen: Sequence[Masks]) -> None:
        for gates, pool, masks in zip(self._gates, self.pools, chosen, strict=True):
            forward, backward = pool.split(masks.forward), pool.split(masks.backward)
            soft = [None] * len(gates) if masks.soft is None else pool.split(masks.soft)
            for gate, *three in zip(gates, forward, backward, soft, strict=True):
                gate.masks = Masks(*three)

    def kept(self) -> list[Tensor]:
        """The blocks of each pool that compute now, bool [N]."""
        masks = [[gate.masks for gate in gates if gate.masks is not None] for gates in self._gates]
        return [torch.cat([each.forward.flatten() for each in of_pool]) > 0 for of_pool in masks]

    def finish(self) -> list[Tensor]:
        """Leave plain weights, zero where blocks went; the blocks that stayed, bool [N] of each pool.

        After `project` or `restore` these are the weights that are shown.
        """
        if not (self._frozen or self._projected):
            self._freeze()
        names: dict[nn.Module, list[str]] = {}
        for module, name in (place for of_pool in self._places for place in of_pool):
            names.setdefault(module, []).append(name)
        for module, masked in names.items():
            read_plainly(module, masked)
        return self.kept()
