"""The numbers that weights of linears may become: integers times scales.

    INT8   a scale for each output, its largest weight over 127; integers from -127 to 127
    INT4   a scale for every 32 inputs of an output, in bfloat16, as XNNPACK keeps it; integers from -8 to 7

A scale of 4 bits is the group's largest weight over one of `DIVISORS`, whichever loses least. Whole numbers up to 8 are
among them, so weights that lie on such a grid already find it again, and stay what they are to the bit: what fits
weights to texts hands them on as plain fp32. (torchao's rule, the largest over 7.5, loses 7.5, which becomes 7.)

Legend: N outputs, K inputs, G groups of W inputs.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

GROUP = 32  # inputs that share a scale of 4 bits; XNNPACK takes multiples of 32
DIVISORS = (8.0, 7.5, 7.0, 8.5, 9.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0)
_SMALLEST = 2.0**-100  # a scale: far above what bfloat16 and the kernels' factors of 16 need


@dataclass(frozen=True)
class WeightGrid:
    """One set of numbers.

    bits: of an integer. lowest, highest: of all. group: inputs that share a scale; None for all of an output.
    scale_type: what scales are rounded to.
    """

    bits: int
    lowest: int
    highest: int
    group: int | None = None
    scale_type: torch.dtype = torch.float32

    @property
    def steps(self) -> float:
        """From zero to the largest weight, about."""
        return (self.highest - self.lowest) / 2

    def takes(self, weight_NK: Tensor) -> bool:
        """Whether groups divide the inputs."""
        return self.group is None or weight_NK.shape[1] % self.group == 0

    def grouped(self, weight_NK: Tensor) -> Tensor:
        """[N, G, W]."""
        return weight_NK.unflatten(1, (-1, weight_NK.shape[1] if self.group is None else self.group))

    def spread(self, scales_NG: Tensor, inputs: int) -> Tensor:
        """The scale [N, K] of every weight."""
        return scales_NG.repeat_interleave(inputs // scales_NG.shape[1], 1)

    def scales(self, weight_NK: Tensor, importance_K: Tensor | None = None) -> Tensor:
        """Scales [N, G], of `weight_NK`'s own type. importance_K: what an error of an input's weights counts."""
        weight_NGW = self.grouped(weight_NK)
        largest_NG = weight_NGW.abs().amax(2)
        if self.group is None:
            return largest_NG.clamp(min=torch.finfo(torch.float32).tiny) / self.highest
        counts_GW = None if importance_K is None else importance_K.unflatten(0, (-1, self.group))
        best_NG = least_NG = None
        smallest = max(_SMALLEST, torch.finfo(self.scale_type).smallest_normal)
        for divisor in DIVISORS:
            scales_NG = (largest_NG / divisor).clamp(min=smallest).to(self.scale_type).to(weight_NK.dtype)
            errors_NGW = (self._nearest(weight_NGW, scales_NG) * scales_NG.unsqueeze(2) - weight_NGW).square_()
            lost_NG = errors_NGW.sum(2) if counts_GW is None else (errors_NGW * counts_GW).sum(2)
            if best_NG is None or least_NG is None:
                best_NG, least_NG = scales_NG, lost_NG
            else:
                best_NG, least_NG = torch.where(lost_NG < least_NG, scales_NG, best_NG), least_NG.minimum(lost_NG)
        assert best_NG is not None
        return best_NG

    def quantize(self, weight_NK: Tensor) -> tuple[Tensor, Tensor]:
        """The nearest integers int8 [N, K], and scales float32 [N, G]."""
        weight_NK = weight_NK.detach().float()
        scales_NG = self.scales(weight_NK)
        return self._nearest(self.grouped(weight_NK), scales_NG).flatten(1).to(torch.int8), scales_NG

    def rounded(self, weight_NK: Tensor) -> Tensor:
        """The nearest weights on the grid, float32 [N, K]."""
        integers_NK, scales_NG = self.quantize(weight_NK)
        return (self.grouped(integers_NK) * scales_NG.unsqueeze(2)).flatten(1)

    def _nearest(self, weight_NGW: Tensor, scales_NG: Tensor) -> Tensor:
        return (weight_NGW / scales_NG.unsqueeze(2)).round_().clamp_(self.lowest, self.highest)


INT8 = WeightGrid(8, -127, 127)
INT4 = WeightGrid(4, -8, 7, GROUP, torch.bfloat16)


def grid_of(grid: WeightGrid, weight_NK: Tensor) -> WeightGrid:
    """`grid`, or INT8 for weights whose inputs its groups don't divide."""
    return grid if grid.takes(weight_NK) else INT8
