"""How many units each layer keeps of a budget for all: more where they say more.

Each layer's curve of loss over width comes from removing units in steps, as narrowing does, in the dense encoder. Then
the budget is shared out from the fewest units upwards, always to the layer that gains most a unit. The loss is what the
second matrix can't give any more, as a share of the variance of what the residual adds up to: the LayerNorm behind
brings that to one scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from spartanc.models.slim.cost import NARROWEST, STEP
from spartanc.models.slim.encoder import Encoder
from spartanc.models.slim.feed_forward import FeedForwardFit, observe
from spartanc.models.slim.texts import Batch

POINTS = 12  # of a curve


@dataclass(frozen=True)
class Curve:
    """Widths, from wide to narrow, and the loss at each."""

    units: tuple[int, ...]
    losses: tuple[float, ...]

    def at(self, units: int) -> float:
        """The loss at a width, straight between the points."""
        return float(np.interp(units, self.units[::-1], self.losses[::-1]))


def uneven_widths(dense: Encoder, data: Sequence[Batch], units: int) -> list[int]:
    """A width for each layer, `units` in the mean, multiples of `STEP` (but for a layer that stays whole)."""
    curves = [curve_of(observe(dense, dense, layer, data)) for layer in range(len(dense.feed_forwards()))]
    return share_out(curves, units * len(curves))


def curve_of(fit: FeedForwardFit) -> Curve:
    """Units leave in equal steps, always those that cost least beside those that are gone."""
    units = len(fit.start[0]) - 1
    kept = torch.ones(units, dtype=torch.bool)
    widths, losses = [units], [fit.unexplained(kept)]
    for point in range(1, POINTS):
        width = units - round(units * point / POINTS)
        worth = fit.saliency(kept)
        worth[~kept] = float("inf")  # gone already
        kept[worth.argsort()[: int(kept.sum()) - width]] = False
        widths.append(width)
        losses.append(fit.unexplained(kept))
    return Curve(tuple(widths), tuple(losses))


def share_out(curves: Sequence[Curve], budget: int) -> list[int]:
    """Widths that add up to at most `budget`, with as little loss as steps of `STEP` units can have."""
    widest = [curve.units[0] for curve in curves]
    widths = [max(STEP, int(NARROWEST * units) // STEP * STEP) for units in widest]
    while sum(widths) < budget:
        gains = []
        for index, (curve, width, most) in enumerate(zip(curves, widths, widest, strict=True)):
            wider = min(width + STEP, most)
            if width < most and sum(widths) + wider - width <= budget:
                gain = round(curve.at(width) - curve.at(wider), 9)
                gains.append((gain, -width, -index))  # of equal gains the narrowest layer's
        if not gains:
            break
        layer = -max(gains)[-1]
        widths[layer] = min(widths[layer] + STEP, widest[layer])
    return widths
