"""SPARTAN's memory in plain PyTorch, in the ways that people write it.

Every form is a module of its own with the same constructor, so that a test can ask each the same question. None of
them comes from `spartanc.models`.

Legend: B batch, S positions, H hidden size, E parents, M cells in all, C = M / E, K chosen parents, T temperature.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Form(nn.Module):
    """The parameters of one memory; a subclass says how it is read."""

    def __init__(self, E: int = 8, M: int = 24, K: int = 3, T: float = 1.6, H: int = 16, seed: int = 0):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.E, self.M, self.C, self.K, self.T, self.H = E, M, M // E, K, T, H
        self.parents = nn.Parameter(torch.randn(E, H, generator=generator) * 0.5)
        self.keys = nn.Parameter(torch.randn(M, H, generator=generator) * 0.5)
        self.values = nn.Parameter(torch.randn(M, H, generator=generator))
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        raise NotImplementedError


class PublishedDense(Form):
    """Version 1 of the original implementation."""

    def forward(self, x):
        B, S, _ = x.shape
        p_BSE = x @ self.parents.T
        _, worst = torch.topk(p_BSE, self.E - self.K, dim=-1, largest=False)
        p_BSE.scatter_(-1, worst, float("-inf"))
        a_BSE = torch.softmax(p_BSE, dim=-1)
        c_BSM = torch.einsum("bsh,mh->bsm", x, self.keys) / self.T
        b_BSEC = torch.softmax(c_BSM.view(B, S, self.E, self.C), dim=-1)
        y_BSEH = torch.einsum("bsem,emh->bseh", b_BSEC, self.values.view(self.E, self.C, self.H))
        return x + torch.einsum("bse,bseh->bsh", a_BSE, y_BSEH)


class PublishedGather(Form):
    """Version 2 of the original implementation."""

    def forward(self, x):
        B, S, H = x.shape
        p_BSE = x @ self.parents.T
        _, worst = torch.topk(p_BSE, self.E - self.K, dim=-1, largest=False)
        a_BSE = torch.softmax(p_BSE.scatter(-1, worst, float("-inf")), dim=-1)
        _, index_BSK = torch.topk(p_BSE, self.K, dim=-1)
        keys = self.keys.view(1, 1, self.E, self.C, H).expand(B, S, -1, -1, -1)
        values = self.values.view(1, 1, self.E, self.C, H).expand(B, S, -1, -1, -1)
        rows = index_BSK.unsqueeze(-1).unsqueeze(-1).expand(-1, -1, -1, self.C, H)
        keys, values = torch.gather(keys, 2, rows), torch.gather(values, 2, rows)
        b = torch.softmax(torch.einsum("bskmh,bsh->bskm", keys, x) / self.T, dim=-1)
        y = torch.einsum("bskmh,bskm->bskh", values, b)
        a_BSK = torch.gather(a_BSE, -1, index_BSK)
        return x + torch.einsum("bsk,bskh->bsh", a_BSK, y)


class ScatteredWeights(Form):
    """softmax of the K largest, scattered into zeros; mask weights multiplied before the values."""

    def forward(self, x):
        logits = F.linear(x, self.parents)
        chosen, index = logits.topk(self.K, dim=-1)
        weights = torch.zeros_like(logits).scatter(-1, index, chosen.softmax(-1))
        cells = (F.linear(x, self.keys) / self.T).unflatten(-1, (self.E, -1)).softmax(-1)
        return x + (cells * weights.unsqueeze(-1)).flatten(-2) @ self.values
