"""The feed-forward of an encoder's layer: two linears and the units between them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from spartanc.models.encoders.adapter import EncoderAdapter


@dataclass(frozen=True)
class FeedForward:
    """One layer's pair of linears: `second(activation(first(x)))`, x being what its residual adds.

    name: of the layer, as the checkpoint's tensors begin.
    """

    name: str
    first: nn.Linear
    second: nn.Linear

    @property
    def units(self) -> int:
        return self.first.out_features

    def narrow(self, kept_U: Tensor) -> None:
        """Leave the units that `kept_U` says, bool [U], in place."""
        index = kept_U.nonzero().flatten()
        with torch.no_grad():
            self.first.weight = nn.Parameter(self.first.weight[index].clone())
            if self.first.bias is not None:
                self.first.bias = nn.Parameter(self.first.bias[index].clone())
            self.second.weight = nn.Parameter(self.second.weight[:, index].clone())
        self.first.out_features = self.second.in_features = len(index)

    def widen(self, units: int) -> None:
        """Add units of zeros, which compute nothing, up to `units`; in place."""
        more = units - self.units
        with torch.no_grad():
            self.first.weight = nn.Parameter(functional.pad(self.first.weight, (0, 0, 0, more)))
            if self.first.bias is not None:
                self.first.bias = nn.Parameter(functional.pad(self.first.bias, (0, more)))
            self.second.weight = nn.Parameter(functional.pad(self.second.weight, (0, more)))
        self.first.out_features = self.second.in_features = units


def feed_forwards(layers: Iterable[nn.Module], adapter: EncoderAdapter) -> list[FeedForward]:
    """Of every layer, in order."""
    found = []
    for index, layer in enumerate(layers):
        first, second = layer.get_submodule(adapter.feed_forward), layer.get_submodule(adapter.layer_output)
        assert isinstance(first, nn.Linear) and isinstance(second, nn.Linear)
        found.append(FeedForward(f"{adapter.layers}.{index}", first, second))
    return found
