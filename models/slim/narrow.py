"""Units leave the feed-forwards, layer by layer, each fitted to what the layers before it have become."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from spartanc.models.encoders.feed_forward import FeedForward
from spartanc.models.slim.encoder import Encoder
from spartanc.models.slim.feed_forward import FeedForwardFit, observe
from spartanc.models.slim.texts import Batch
from spartanc.models.sparsifiers.pool import Pool
from spartanc.models.sparsifiers.sparsifier import Sparsifier


@dataclass(frozen=True)
class Narrowed:
    """What happened to one layer. lost: what its feed-forward can't give, as a share of its output's variance."""

    layer: str
    units_before: int
    units: int
    lost: float | None


def pool_of(pair: FeedForward, units: int, fit: FeedForwardFit | None = None) -> Pool:
    """A layer's units as blocks of equal cost, of which `units` may stay: the columns of its second matrix."""
    costs = torch.ones(pair.units, dtype=torch.float64)
    return Pool([pair.second.weight], (0,), costs, float(units), None if fit is None else fit.saliency)


def narrow(
    dense: Encoder,
    slim: Encoder,
    widths: Sequence[int],
    sparsifier: Sparsifier,
    data: Sequence[Batch],
    say: Callable[[str], None] = lambda line: None,
) -> list[Narrowed]:
    """Leave `widths[i]` units of layer i in `slim`, which is `dense`'s equal; in place.

    A sparsifier that knows what removals cost also solves the second matrix anew; others leave it as it is.
    """
    found = []
    for layer, (pair, units) in enumerate(zip(slim.feed_forwards(), widths, strict=True)):
        before = pair.units
        if units == before:
            found.append(Narrowed(pair.name, before, before, None))
            continue
        fit = observe(dense, slim, layer, data) if sparsifier.needs_saliency else None
        kept = sparsifier.choose(pool_of(pair, units, fit))
        pair.narrow(kept)
        lost = None if fit is None else _solve(pair, fit, kept)
        said = "" if lost is None else f", {lost:.1%} of the variance unexplained"
        say(f"layer {layer}: {units} of {before} units stay{said}")
        found.append(Narrowed(pair.name, before, units, lost))
    return found


def _solve(pair: FeedForward, fit: FeedForwardFit, kept_U: Tensor) -> float:
    """Put the best second matrix and bias in place; the share of variance that it does not explain."""
    weight, bias = fit.solve(kept_U)
    with torch.no_grad():
        pair.second.weight.copy_(weight)
        if pair.second.bias is None:
            pair.second.bias = nn.Parameter(torch.empty(len(bias)))
        pair.second.bias.copy_(bias)
    return fit.unexplained(kept_U)
