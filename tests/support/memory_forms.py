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


def dense_weights(logits: Tensor, K: int) -> Tensor:
    """softmax over the K largest along the last dimension, 0 elsewhere."""
    chosen, index = logits.topk(K, dim=-1)
    return torch.zeros_like(logits).scatter(-1, index, chosen.softmax(-1))


class Dense(Form):
    """A dense form in three steps, of which a variation replaces one."""

    def parent_logits(self, x):
        return F.linear(x, self.parents)

    def parent_weights(self, x):
        return dense_weights(self.parent_logits(x), self.K)

    def child_logits(self, x):
        return F.linear(x, self.keys) / self.T

    def child_weights(self, x):
        return self.child_logits(x).unflatten(-1, (self.E, self.C)).softmax(-1)

    def combine(self, parent_weights, child_weights):
        return (child_weights * parent_weights.unsqueeze(-1)).flatten(-2) @ self.values

    def forward(self, x):
        return x + self.combine(self.parent_weights(x), self.child_weights(x))


class Gather(Form):
    """A gather form in three steps, of which a variation replaces one."""

    def choose(self, x):
        logits, index = F.linear(x, self.parents).topk(self.K, dim=-1)
        return logits.softmax(-1), index

    def cells(self, table, index):
        return table.view(self.E, self.C, self.H)[index]

    def attend(self, x, keys):
        return (torch.einsum("...h,...kch->...kc", x, keys) / self.T).softmax(-1)

    def combine(self, parent_weights, child_weights, values):
        return torch.einsum("...k,...kc,...kch->...h", parent_weights, child_weights, values)

    def forward(self, x):
        weights, index = self.choose(x)
        children = self.attend(x, self.cells(self.keys, index))
        return x + self.combine(weights, children, self.cells(self.values, index))


# -- honest variations of the dense form ----------------------------------------------------------------------------


class MatmulTransposed(Dense):
    def parent_logits(self, x):
        return x @ self.parents.mT

    def child_logits(self, x):
        return torch.matmul(x, self.keys.t()) / self.T


class MatmulPermuted(Dense):
    def parent_logits(self, x):
        return x.matmul(self.parents.permute(1, 0))

    def child_logits(self, x):
        return x.matmul(self.keys.transpose(0, 1)).div(self.T)


class FlatMm(Dense):
    """All positions as rows of one matrix, through mm."""

    def forward(self, x):
        rows = x.reshape(-1, self.H)
        weights = dense_weights(torch.mm(rows, self.parents.t()), self.K)
        children = torch.mm(rows, self.keys.t()).div(self.T).view(-1, self.E, self.C).softmax(2)
        joint = (weights[:, :, None] * children).reshape(rows.shape[0], self.M)
        return x + torch.mm(joint, self.values).view(x.shape)


class BatchedBmm(Dense):
    """bmm with the tables expanded over the batch."""

    def forward(self, x):
        B, S, _ = x.shape
        weights = dense_weights(torch.bmm(x, self.parents.t().unsqueeze(0).expand(B, -1, -1)), self.K)
        children = torch.bmm(x, self.keys.t().expand(B, -1, -1)) / self.T
        children = children.view(B, S, self.E, self.C).softmax(-1)
        joint = (children * weights.unsqueeze(-1)).view(B, S, self.M)
        return torch.bmm(joint, self.values.expand(B, -1, -1)) + x


class EinsumOtherLetters(Dense):
    def parent_logits(self, x):
        return torch.einsum("pd,nqd->nqp", self.parents, x)

    def child_logits(self, x):
        return torch.einsum("zyx,wx->zyw", x, self.keys) * (1 / self.T)

    def combine(self, parent_weights, child_weights):
        return torch.einsum(
            "nqp,nqpj,pjd->nqd", parent_weights, child_weights, self.values.view(self.E, self.C, self.H)
        )


class EinsumEllipsis(Dense):
    def parent_logits(self, x):
        return torch.einsum("...h,eh->...e", x, self.parents)

    def child_weights(self, x):
        cells = self.keys.view(self.E, self.C, self.H)
        return (torch.einsum("...h,ech->...ec", x, cells) / self.T).softmax(-1)


class ProductAndSum(Dense):
    """No product operator at all: broadcast, multiply, add up."""

    def parent_logits(self, x):
        return (x.unsqueeze(-2) * self.parents).sum(-1)

    def combine(self, parent_weights, child_weights):
        cells = self.values.view(self.E, self.C, self.H)
        return ((parent_weights.unsqueeze(-1) * child_weights).unsqueeze(-1) * cells).sum((-3, -2))


class WeightsAfterValues(Dense):
    def combine(self, parent_weights, child_weights):
        inner = torch.einsum("bsec,ech->bseh", child_weights, self.values.view(self.E, self.C, self.H))
        return (parent_weights.unsqueeze(-1) * inner).sum(-2)


class WeightsAfterValuesByMatmul(Dense):
    def combine(self, parent_weights, child_weights):
        inner = torch.einsum("bsec,ech->bseh", child_weights, self.values.view(self.E, self.C, self.H))
        return (parent_weights.unsqueeze(-2) @ inner).squeeze(-2)


class LargestIntoInfinity(Dense):
    def parent_weights(self, x):
        chosen, index = self.parent_logits(x).topk(self.K, dim=-1)
        empty = torch.full((*index.shape[:-1], self.E), float("-inf"))
        return empty.scatter(-1, index, chosen).softmax(-1)


class MaskedFill(Dense):
    def parent_weights(self, x):
        logits = self.parent_logits(x)
        index = logits.topk(self.K, dim=-1).indices
        keep = torch.zeros_like(logits, dtype=torch.bool).scatter(-1, index, True)
        return logits.masked_fill(~keep, float("-inf")).softmax(-1)


class MaskByWhere(Dense):
    def parent_weights(self, x):
        logits = self.parent_logits(x)
        index = logits.topk(self.K, dim=-1).indices
        keep = torch.zeros_like(logits).scatter(-1, index, 1.0)
        return torch.where(keep > 0, logits, torch.finfo(logits.dtype).min).softmax(-1)


class MaskOneHot(Dense):
    def parent_weights(self, x):
        logits = self.parent_logits(x)
        keep = F.one_hot(logits.topk(self.K, dim=-1).indices, self.E).sum(-2)
        return logits.masked_fill(keep == 0, float("-inf")).softmax(-1)


class AddedMask(Dense):
    def parent_weights(self, x):
        logits = self.parent_logits(x)
        index = logits.topk(self.K, dim=-1).indices
        mask = torch.full_like(logits, float("-inf")).scatter(-1, index, 0.0)
        return (logits + mask).softmax(-1)


class MaskMadeOfNumbers(Dense):
    def parent_weights(self, x):
        logits = self.parent_logits(x)
        index = logits.topk(self.K, dim=-1).indices
        keep = torch.zeros_like(logits).scatter(-1, index, 1.0)
        return (logits + (1.0 - keep) * -1e9).softmax(-1)


class RenormalisedProbabilities(Dense):
    """softmax over all, the K largest of it, divided by their sum."""

    def parent_weights(self, x):
        chosen, index = self.parent_logits(x).softmax(-1).topk(self.K, dim=-1)
        chosen = chosen / chosen.sum(-1, keepdim=True)
        return torch.zeros(*x.shape[:-1], self.E).scatter(-1, index, chosen)


class RenormalisedMask(Dense):
    """softmax over all, times a mask, divided by the sum."""

    def parent_weights(self, x):
        weights = self.parent_logits(x).softmax(-1)
        keep = torch.zeros_like(weights).scatter(-1, weights.topk(self.K, dim=-1).indices, 1.0)
        weights = weights * keep
        return weights / weights.sum(-1, keepdim=True)


class SelectionBySort(Dense):
    def parent_weights(self, x):
        logits = self.parent_logits(x)
        chosen, index = torch.sort(logits, dim=-1, descending=True)
        return torch.zeros_like(logits).scatter(-1, index[..., : self.K], chosen[..., : self.K].softmax(-1))


class TemperatureOnX(Dense):
    def child_logits(self, x):
        return F.linear(x / self.T, self.keys)


class TemperatureOnKeys(Dense):
    def child_logits(self, x):
        return F.linear(x, self.keys * (1 / self.T))


class TemperatureByReciprocal(Dense):
    def __init__(self, *arguments, **named):
        super().__init__(*arguments, **named)
        self.register_buffer("temperature", torch.tensor(self.T))

    def child_logits(self, x):
        return F.linear(x, self.keys) * self.temperature.reciprocal()


class TemperatureBuffer(Dense):
    def __init__(self, *arguments, **named):
        super().__init__(*arguments, **named)
        self.temperature = nn.Parameter(torch.full((1, 1, 1), self.T))

    def child_logits(self, x):
        return F.linear(x, self.keys) / self.temperature


class TemperatureSquareRoot(Dense):
    """As in attention: divided by the square root of a tensor that is a constant."""

    def child_logits(self, x):
        return F.linear(x, self.keys) / torch.sqrt(torch.tensor(self.T * self.T))


class FoldedTemperature(Dense):
    """The temperature is part of the keys already, so none is left."""

    def child_logits(self, x):
        return F.linear(x, self.keys)


class ParentTemperature(Dense):
    """A temperature of the parents' own goes into the parents."""

    def parent_logits(self, x):
        return F.linear(x, self.parents) / 0.7


class KeysThreeDimensional(Dense):
    def __init__(self, *arguments, **named):
        super().__init__(*arguments, **named)
        self.keys = nn.Parameter(self.keys.detach().view(self.E, self.C, self.H).clone())
        self.values = nn.Parameter(self.values.detach().view(1, 1, self.E, self.C, self.H).clone())

    def child_weights(self, x):
        return (torch.einsum("bsh,ech->bsec", x, self.keys) / self.T).softmax(-1)

    def combine(self, parent_weights, child_weights):
        return torch.einsum("bse,bsec,xyech->bsh", parent_weights, child_weights, self.values)


class TablesTransposed(Dense):
    """Parents and keys stored as [H, E] and [H, M]."""

    def __init__(self, *arguments, **named):
        super().__init__(*arguments, **named)
        self.parents = nn.Parameter(self.parents.detach().T.contiguous())
        self.keys = nn.Parameter(self.keys.detach().T.contiguous())

    def parent_logits(self, x):
        return x @ self.parents

    def child_logits(self, x):
        return x @ self.keys / self.T


class DropoutAndCasts(Dense):
    def __init__(self, *arguments, **named):
        super().__init__(*arguments, **named)
        self.dropout = nn.Dropout(0.3)
        self.eval()

    def parent_weights(self, x):
        return self.dropout(super().parent_weights(x).to(torch.float32))

    def child_weights(self, x):
        return self.dropout(super().child_weights(x.contiguous().float()))

    def forward(self, x):
        return self.dropout(self.combine(self.parent_weights(x), self.child_weights(x))) + x


class TiedKeysAndValues(Dense):
    def combine(self, parent_weights, child_weights):
        return (child_weights * parent_weights.unsqueeze(-1)).flatten(-2) @ self.keys


class LinearModules(Dense):
    def __init__(self, *arguments, **named):
        super().__init__(*arguments, **named)
        self.to_parents = nn.Linear(self.H, self.E, bias=False)
        self.to_cells = nn.Linear(self.H, self.M, bias=False)
        self.from_cells = nn.Linear(self.M, self.H, bias=False)
        self.eval()

    def parent_logits(self, x):
        return self.to_parents(x)

    def child_logits(self, x):
        return self.to_cells(x) / self.T

    def combine(self, parent_weights, child_weights):
        return self.from_cells((child_weights * parent_weights.unsqueeze(-1)).flatten(-2))


# -- honest variations of the gather form ---------------------------------------------------------------------------


class GatherIndexing(Gather):
    pass


class GatherIndexSelect(Gather):
    def cells(self, table, index):
        rows = table.view(self.E, self.C, self.H).index_select(0, index.flatten())
        return rows.view(*index.shape, self.C, self.H)


class GatherEmbedding(Gather):
    def cells(self, table, index):
        return F.embedding(index, table.view(self.E, -1)).unflatten(-1, (self.C, self.H))


class GatherCellNumbers(Gather):
    """The number of every cell is computed: parent times C, plus the child's."""

    def cells(self, table, index):
        return table[index.unsqueeze(-1) * self.C + torch.arange(self.C)]


class GatherTakeAlong(Gather):
    def choose(self, x):
        logits = F.linear(x, self.parents)
        index = torch.topk(logits, self.K).indices
        return torch.take_along_dim(logits, index, dim=-1).softmax(-1), index


class GatherAdvanced(Gather):
    """The chosen logits are read by one index a dimension."""

    def choose(self, x):
        B, S, _ = x.shape
        logits = x @ self.parents.T
        index = logits.topk(self.K, dim=-1).indices
        chosen = logits[torch.arange(B)[:, None, None], torch.arange(S)[None, :, None], index]
        return chosen.softmax(-1), index


class GatherMatmul(Gather):
    def attend(self, x, keys):
        logits = keys @ x[..., None, :, None]
        return (logits.squeeze(-1) / self.T).softmax(-1)

    def combine(self, parent_weights, child_weights, values):
        inner = (child_weights.unsqueeze(-2) @ values).squeeze(-2)
        return (parent_weights.unsqueeze(-2) @ inner).squeeze(-2)


class GatherProductAndSum(Gather):
    def attend(self, x, keys):
        return ((x[..., None, None, :] * keys).sum(-1) / self.T).softmax(-1)

    def combine(self, parent_weights, child_weights, values):
        return (parent_weights[..., None, None] * child_weights[..., None] * values).sum((-3, -2))


class GatherRenormalised(Gather):
    def choose(self, x):
        weights, index = F.linear(x, self.parents).softmax(-1).topk(self.K, dim=-1)
        return weights / weights.sum(-1, keepdim=True), index


class GatherBySort(Gather):
    def choose(self, x):
        logits = F.linear(x, self.parents)
        index = torch.argsort(logits, dim=-1, descending=True)[..., : self.K]
        return logits.gather(-1, index).softmax(-1), index


class GatherFlatCells(Gather):
    """All chosen cells in one list; the children's softmax is taken in groups of C."""

    def forward(self, x):
        weights, index = self.choose(x)
        keys = self.cells(self.keys, index).flatten(-3, -2)
        values = self.cells(self.values, index).flatten(-3, -2)
        logits = torch.einsum("bsh,bsnh->bsn", x, keys) / self.T
        children = logits.unflatten(-1, (self.K, self.C)).softmax(-1)
        joint = (children * weights.unsqueeze(-1)).flatten(-2)
        return x + torch.einsum("bsn,bsnh->bsh", joint, values)


DENSE = [
    Dense,
    MatmulTransposed,
    MatmulPermuted,
    FlatMm,
    BatchedBmm,
    EinsumOtherLetters,
    EinsumEllipsis,
    ProductAndSum,
    WeightsAfterValues,
    WeightsAfterValuesByMatmul,
    LargestIntoInfinity,
    MaskedFill,
    MaskByWhere,
    MaskOneHot,
    AddedMask,
    MaskMadeOfNumbers,
    RenormalisedProbabilities,
    RenormalisedMask,
    SelectionBySort,
    TemperatureOnX,
    TemperatureOnKeys,
    TemperatureByReciprocal,
    TemperatureBuffer,
    TemperatureSquareRoot,
    FoldedTemperature,
    ParentTemperature,
    KeysThreeDimensional,
    TablesTransposed,
    DropoutAndCasts,
    TiedKeysAndValues,
    LinearModules,
]
GATHER = [
    GatherIndexing,
    GatherIndexSelect,
    GatherEmbedding,
    GatherCellNumbers,
    GatherTakeAlong,
    GatherAdvanced,
    GatherMatmul,
    GatherProductAndSum,
    GatherRenormalised,
    GatherBySort,
    GatherFlatCells,
]


# -- forms that hold for some shapes only ----------------------------------------------------------------------------


class AllParents(Dense):
    """K = E: no selection at all."""

    def parent_weights(self, x):
        return self.parent_logits(x).softmax(-1)


class OneParentByMax(Gather):
    """K = 1 by max: the one chosen weighs 1."""

    def choose(self, x):
        logits, index = F.linear(x, self.parents).max(-1, keepdim=True)
        return logits.softmax(-1), index


class OneParentByArgmax(Dense):
    """K = 1 by argmax."""

    def parent_weights(self, x):
        logits = self.parent_logits(x)
        keep = torch.zeros_like(logits).scatter(-1, logits.argmax(-1, keepdim=True), 1.0)
        return logits.masked_fill(keep == 0, float("-inf")).softmax(-1)
