"""The memory: two levels, parents and their cells, shared by all positions of a layer's output.

Source: SPARTAN, arXiv 2211.16634, section 3. The formula stands in `spartanc.passes.ops.memory_lookup`.

Legend: B batch, S positions, H hidden size, E parents, M cells in all, C = M / E cells a parent, K chosen
parents.

Of the exact ways to write it in PyTorch, the dense one is by far the fastest in training with few cells a
parent: all child logits by one product, weighted by parents of which all but K weigh nothing, and one product
back. The gather form copies K * C rows a position (measured 20 to 70 times slower).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from spartanc.errors import UnsupportedModelError, UsageError

LAYER_NORMS = ("none", "post")
LOWEST_TEMPERATURE = 1e-30  # it and its inverse are numbers of float32


@dataclass(frozen=True)
class SpartanConfig:
    """Shape of every memory of a model. Defaults are the paper's.

    layer_norm: `post` puts a LayerNorm after the memory's residual, `none` does not.
    """

    parents: int = 16
    cells: int = 48
    top_k: int = 8
    temperature: float = 1.6
    layer_norm: str = "none"

    def __post_init__(self):
        for name in ("parents", "cells", "top_k"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise UsageError(f"memory: {name} must be a whole number of at least 1, got `{value}`")
        if self.cells % self.parents:
            raise UsageError(f"memory: {self.cells} cells do not divide among {self.parents} parents")
        if self.top_k > self.parents:
            raise UsageError(f"memory: top_k `{self.top_k}` is above the {self.parents} parents")
        if isinstance(self.temperature, bool) or not isinstance(self.temperature, int | float):
            raise UsageError(f"memory: temperature must be a number, got `{self.temperature}`")
        if not (LOWEST_TEMPERATURE <= self.temperature <= 1 / LOWEST_TEMPERATURE):  # nor is NaN
            raise UsageError(f"memory: temperature must be above 0 and finite, got `{self.temperature}`")
        object.__setattr__(self, "temperature", float(self.temperature))  # torch divides by no large whole number
        if self.layer_norm not in LAYER_NORMS:
            raise UnsupportedModelError(
                f"memory: layer norm `{self.layer_norm}` is not known",
                hint=f"one of {', '.join(LAYER_NORMS)}",
            )


class Memory(nn.Module):
    """x -> x + lookup(x), then a LayerNorm if the config says `post`."""

    def __init__(self, config: SpartanConfig, hidden_size: int, layer_norm_eps: float = 1e-12):
        super().__init__()
        self.config = config
        self.parents = nn.Parameter(torch.empty(config.parents, hidden_size))
        self.keys = nn.Parameter(torch.empty(config.cells, hidden_size))
        self.values = nn.Parameter(torch.empty(config.cells, hidden_size))
        self.norm = nn.LayerNorm(hidden_size, eps=layer_norm_eps) if config.layer_norm == "post" else None
        # The parents' weights pass through here unchanged, so that a forward hook can see them.
        self.selected = nn.Identity()
        self.reset_parameters()

    def reset_parameters(self, std: float = 0.02, value_std: float = 0.02) -> None:
        """Selection starts near uniform, and a memory close to adding nothing to what the encoder
        computed.
        """
        nn.init.normal_(self.parents, std=std)
        nn.init.normal_(self.keys, std=std)
        nn.init.normal_(self.values, std=value_std)

    def forward(self, x_BSH: Tensor) -> Tensor:
        out_BSH = x_BSH + self.read(x_BSH, self.parent_weights(x_BSH))
        return out_BSH if self.norm is None else self.norm(out_BSH)

    def parent_weights(self, x_BSH: Tensor) -> Tensor:
        """Weights [B, S, E] of the parents at every position: softmax over the K chosen, 0 elsewhere.

        Logits are computed in float64 and rounded once: in float32 a product adds up in another order for one
        column than for the next, and the logits of equal parents would be a rounding apart.
        """
        logits_BSE = functional.linear(x_BSH.double(), self.parents.double())
        return self.select(logits_BSE.to(x_BSH.dtype))

    def select(self, logits_BSE: Tensor) -> Tensor:
        """The weights that parent logits give; of equal ones the lower indices are chosen, which topk leaves open."""
        ranked_BSE, index_BSE = logits_BSE.sort(dim=-1, descending=True, stable=True)
        chosen_BSK, index_BSK = ranked_BSE[..., : self.config.top_k], index_BSE[..., : self.config.top_k]
        weights_BSE = torch.zeros_like(logits_BSE).scatter(-1, index_BSK, chosen_BSK.softmax(-1))
        return self.selected(weights_BSE)

    def read(self, x_BSH: Tensor, weights_BSE: Tensor) -> Tensor:
        """What the memory adds at every position [B, S, H], given its parents' weights."""
        logits_BSM = functional.linear(x_BSH, self.keys) / self.config.temperature
        cells_BSEC = logits_BSM.unflatten(-1, (self.config.parents, -1)).softmax(-1)
        return (cells_BSEC * weights_BSE.unsqueeze(-1)).flatten(-2) @ self.values
