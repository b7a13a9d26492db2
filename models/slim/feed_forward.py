"""Which units of a feed-forward can go, and the second matrix that makes up for them.

The slim encoder's layer reads a [N, U] after its activation and adds x [N, H] to what the second matrix gives; the
dense encoder has x' + y' in that place. So the second matrix W [H, U] and its bias are solved for

    minimise  |W a + b + x - (x' + y')|^2 + damping |W - W0|^2

which also corrects what the layers before have changed. Removing unit u then costs |W_u|^2 / (A^-1)_uu, A being the
second moments of what is kept (Optimal Brain Surgeon, Hassibi and Stork 1993).

Legend: N tokens, H hidden size, U units.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass

import torch
from torch import Tensor

from spartanc.models.encoders.feed_forward import FeedForward
from spartanc.models.slim.encoder import Encoder, Stop, watched
from spartanc.models.slim.texts import Batch

DAMPING = 0.01  # of the mean second moment


@dataclass
class FeedForwardFit:
    """Sums over tokens, float64: moments [U + 1, U + 1] of units and a constant, cross [H, U + 1] of targets with them.

    squares: of the targets, summed. energy: the variance of what the dense residual adds up to, summed over tokens.
    start: the second matrix and bias as they are, [H, U + 1].
    """

    moments: Tensor
    cross: Tensor
    squares: float
    energy: float
    start: Tensor

    def __post_init__(self) -> None:
        damping = DAMPING * float(self.moments.diagonal()[:-1].mean())
        self._damped = self.moments + damping * torch.eye(len(self.moments), dtype=torch.float64)
        self._pulled = self.cross + damping * self.start

    def saliency(self, kept_U: Tensor) -> Tensor:
        """What the error of the best second matrix grows by when one more unit goes, [U]; nothing for those gone."""
        index = self._index(kept_U)
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(self._damped[index][:, index]))
        solved = self._pulled[:, index] @ inverse
        found = torch.zeros(len(kept_U), dtype=torch.float64)
        found[kept_U] = (solved.square().sum(0) / inverse.diagonal())[:-1]
        return found

    def solve(self, kept_U: Tensor) -> tuple[Tensor, Tensor]:
        """The best second matrix [H, kept units] and bias [H]."""
        index = self._index(kept_U)
        factor = torch.linalg.cholesky(self._damped[index][:, index])
        solved = torch.cholesky_solve(self._pulled[:, index].T, factor).T
        return solved[:, :-1], solved[:, -1]

    def unexplained(self, kept_U: Tensor) -> float:
        """What the best second matrix misses, as a share of the variance of what the residual adds up to."""
        index = self._index(kept_U)
        weight, bias = self.solve(kept_U)
        solved = torch.cat([weight, bias.unsqueeze(1)], 1)
        explained = 2 * (solved * self.cross[:, index]).sum() - (solved @ self.moments[index][:, index] * solved).sum()
        return max(0.0, self.squares - float(explained)) / max(self.energy, 1e-12)

    @staticmethod
    def _index(kept_U: Tensor) -> Tensor:
        """Units that are kept and the constant."""
        return torch.cat([kept_U.nonzero().flatten(), torch.tensor([len(kept_U)])])


def observe(
    dense: Encoder,
    slim: Encoder,
    layer: int,
    data: Sequence[Batch],
) -> FeedForwardFit:
    """The sums of one layer, whose feed-forward is still dense in both encoders; they may be the same one."""
    encoders = [dense] if slim is dense else [dense, slim]
    pairs = [encoder.feed_forwards()[layer] for encoder in encoders]
    mine = pairs[-1]
    units, hidden = mine.units, mine.second.out_features
    moments = torch.zeros(units + 1, units + 1, dtype=torch.float64)
    cross = torch.zeros(hidden, units + 1, dtype=torch.float64)
    total, sum_squares, squares, count = torch.zeros(hidden, dtype=torch.float64), 0.0, 0.0, 0
    with torch.no_grad(), ExitStack() as stack:
        seen = [stack.enter_context(watched(pair, to_the_end=slim.repeats)) for pair in pairs]
        for batch in data:
            real = batch.mask.bool()
            for encoder, found in zip(encoders, seen, strict=True):
                found.clear()
                with suppress(Stop):
                    encoder(batch.ids, batch.mask)
            for at in range(0, len(seen[-1]), 3):
                (their_x, _, their_y), (x, a, _) = seen[0][at : at + 3], seen[-1][at : at + 3]
                sum_NH, a_NU = (their_x + their_y)[real], a[real]
                target_NH = sum_NH - x[real]
                a_NU = torch.cat([a_NU, torch.ones(len(a_NU), 1)], 1)
                moments += (a_NU.T @ a_NU).double()
                cross += (target_NH.T @ a_NU).double()
                total += sum_NH.sum(0).double()
                sum_squares += float(sum_NH.square().sum())
                squares += float(target_NH.square().sum())
                count += len(a_NU)
    energy = sum_squares - float(total.square().sum()) / max(count, 1)
    return FeedForwardFit(moments, cross, squares, energy, _start(mine))


def _start(pair: FeedForward) -> Tensor:
    weight = pair.second.weight.detach().double()
    bias = torch.zeros(len(weight), dtype=torch.float64) if pair.second.bias is None else pair.second.bias.detach()
    return torch.cat([weight, bias.double().unsqueeze(1)], 1)
