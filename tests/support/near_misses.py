"""Modules that resemble SPARTAN's memory and compute something else, or share what the memory would hide.

Each names in `reason` what a report must say about it.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from support.memory_forms import Dense, Form, Gather, PublishedDense, dense_weights


class WeightsAreReturned(Dense):
    """An auxiliary loss reads the parents' weights."""

    reason = "reads an intermediate of the memory too"

    def forward(self, x):
        weights = self.parent_weights(x)
        return x + self.combine(weights, self.child_weights(x)), weights.mean((0, 1))


class LogitsAreUsedTwice(Dense):
    reason = "reads an intermediate of the memory too"

    def forward(self, x):
        logits = self.child_logits(x)
        children = logits.unflatten(-1, (self.E, self.C)).softmax(-1)
        return x + self.combine(self.parent_weights(x), children) + logits.mean()


class IndicesAreReturned(Gather):
    reason = "reads an intermediate of the memory too"

    def forward(self, x):
        weights, index = self.choose(x)
        children = self.attend(x, self.cells(self.keys, index))
        return self.combine(weights, children, self.cells(self.values, index)), index


class ChildSoftmaxOverParents(Dense):
    reason = "wrong axis"

    def child_weights(self, x):
        return self.child_logits(x).unflatten(-1, (self.E, self.C)).softmax(-2)


class ChildSoftmaxOverAllCells(Dense):
    reason = "wrong axis"

    def child_weights(self, x):
        return self.child_logits(x).softmax(-1).unflatten(-1, (self.E, self.C))


class ParentSoftmaxOverPositions(Dense):
    reason = "wrong axis"

    def parent_weights(self, x):
        logits = self.parent_logits(x)
        worst = logits.topk(self.E - self.K, dim=-1, largest=False).indices
        return logits.scatter(-1, worst, float("-inf")).softmax(1)


class GatherSoftmaxOverChosen(Gather):
    reason = "wrong axis"

    def attend(self, x, keys):
        return (torch.einsum("bsh,bskch->bskc", x, keys) / self.T).softmax(2)


class GatherSoftmaxOverAll(Gather):
    reason = "wrong axis"

    def attend(self, x, keys):
        logits = torch.einsum("bsh,bskch->bskc", x, keys) / self.T
        return logits.flatten(-2).softmax(-1).unflatten(-1, (self.K, self.C))


class GatherParentSoftmaxOverPositions(Gather):
    reason = "wrong axis"

    def choose(self, x):
        logits, index = F.linear(x, self.parents).topk(self.K, dim=-1)
        return logits.softmax(1), index


class OtherLayersIndices(Form):
    """Two memories; the second reads its cells at the rows that the first one chose."""

    reason = "another selection"

    def forward(self, x):
        table = self.keys.view(self.E, self.C, self.H)
        first = F.linear(x, self.parents).topk(self.K, dim=-1)
        second = F.linear(x, self.values[: self.E]).topk(self.K, dim=-1)
        children = (torch.einsum("bsh,bskch->bskc", x, table[first.indices]) / self.T).softmax(-1)
        values = self.values.view(self.E, self.C, self.H)[first.indices]
        return torch.einsum("bsk,bskc,bskch->bsh", second.values.softmax(-1), children, values)


class KeysAndValuesAtDifferentRows(Form):
    reason = "different rows"

    def forward(self, x):
        logits = F.linear(x, self.parents)
        best, index = logits.topk(self.K, dim=-1)
        other = F.linear(x, self.values[: self.E]).topk(self.K, dim=-1).indices
        keys = self.keys.view(self.E, self.C, self.H)[index]
        values = self.values.view(self.E, self.C, self.H)[other]
        children = (torch.einsum("bsh,bskch->bskc", x, keys) / self.T).softmax(-1)
        return torch.einsum("bsk,bskc,bskch->bsh", best.softmax(-1), children, values)


class Threshold(Dense):
    reason = "threshold"

    def parent_weights(self, x):
        logits = self.parent_logits(x)
        lowest = logits.topk(self.K, dim=-1).values[..., -1:]
        return torch.where(logits >= lowest, logits, torch.tensor(float("-inf"))).softmax(-1)


class ThresholdByMaskedFill(Dense):
    reason = "threshold"

    def parent_weights(self, x):
        logits = self.parent_logits(x)
        lowest = torch.topk(logits, self.K, dim=-1)[0].amin(-1, keepdim=True)
        return logits.masked_fill(logits < lowest, float("-inf")).softmax(-1)


class ThresholdByKthValue(Dense):
    reason = "threshold"

    def parent_weights(self, x):
        logits = self.parent_logits(x)
        lowest = logits.kthvalue(self.E - self.K + 1, dim=-1, keepdim=True).values
        return logits.masked_fill(logits < lowest, float("-inf")).softmax(-1)


class Smallest(Gather):
    reason = "smallest"

    def choose(self, x):
        logits, index = F.linear(x, self.parents).topk(self.K, dim=-1, largest=False)
        return logits.softmax(-1), index


class LargestMaskedOut(Dense):
    reason = "smallest"

    def parent_weights(self, x):
        logits = self.parent_logits(x)
        best = logits.topk(self.K, dim=-1).indices
        return logits.scatter(-1, best, float("-inf")).softmax(-1)


class NormalisedOverAllParents(Gather):
    reason = "not normalised over the chosen"

    def choose(self, x):
        return F.linear(x, self.parents).softmax(-1).topk(self.K, dim=-1)


class DenseNormalisedOverAllParents(Dense):
    reason = "not normalised over the chosen"

    def parent_weights(self, x):
        weights = self.parent_logits(x).softmax(-1)
        chosen, index = weights.topk(self.K, dim=-1)
        return torch.zeros_like(weights).scatter(-1, index, chosen)


class MaskedButNotNormalised(Dense):
    reason = "not normalised over the chosen"

    def parent_weights(self, x):
        weights = self.parent_logits(x).softmax(-1)
        index = weights.topk(self.K, dim=-1).indices
        return weights * torch.zeros_like(weights).scatter(-1, index, 1.0)


class WeakMask(Dense):
    reason = "does not rule a parent out"

    def parent_weights(self, x):
        logits = self.parent_logits(x)
        worst = logits.topk(self.E - self.K, dim=-1, largest=False).indices
        return logits.scatter(-1, worst, -5.0).softmax(-1)


class TemperaturePerParent(Dense):
    reason = "not the product of x with constant rows"

    def __init__(self, *arguments, **named):
        super().__init__(*arguments, **named)
        self.temperatures = nn.Parameter(torch.linspace(1, 2, self.E)[:, None])

    def child_weights(self, x):
        logits = F.linear(x, self.keys).unflatten(-1, (self.E, self.C))
        return (logits / self.temperatures).softmax(-1)


class TemperatureFromX(Dense):
    reason = "not one constant"

    def child_logits(self, x):
        return F.linear(x, self.keys) / x.std(-1, keepdim=True)


class NegativeTemperature(Dense):
    reason = "temperature"

    def child_logits(self, x):
        return F.linear(x, self.keys) / -self.T


class TwoVectors(Dense):
    """The children look at another vector than the parents."""

    reason = "different vectors"

    def forward(self, x):
        return self.combine(self.parent_weights(x), self.child_weights(torch.tanh(x)))


class ShiftedPositions(Dense):
    reason = "different vectors"

    def forward(self, x):
        return self.combine(self.parent_weights(x), self.child_weights(torch.roll(x, 1, 1)))


class ParentBias(Dense):
    reason = "bias"

    def __init__(self, *arguments, **named):
        super().__init__(*arguments, **named)
        self.bias = nn.Parameter(torch.linspace(-1, 1, self.E))

    def parent_logits(self, x):
        return F.linear(x, self.parents, self.bias)


class ChildBias(Dense):
    reason = "bias"

    def __init__(self, *arguments, **named):
        super().__init__(*arguments, **named)
        self.bias = nn.Parameter(torch.linspace(-1, 1, self.M))

    def child_logits(self, x):
        return F.linear(x, self.keys, self.bias) / self.T


class AddedBias(Dense):
    reason = "does not rank parent logits"

    def __init__(self, *arguments, **named):
        super().__init__(*arguments, **named)
        self.bias = nn.Parameter(torch.linspace(-1, 1, self.E))

    def parent_logits(self, x):
        return F.linear(x, self.parents) + self.bias


class SelectedPositions(Form):
    """The K best positions of every parent: expert choice, another model."""

    reason = ""

    def forward(self, x):
        logits = F.linear(x, self.parents)
        worst = logits.topk(x.shape[1] - 2, dim=1, largest=False).indices
        weights = logits.scatter(1, worst, float("-inf")).softmax(1)
        children = (F.linear(x, self.keys) / self.T).unflatten(-1, (self.E, self.C)).softmax(-1)
        return (children * weights.unsqueeze(-1)).flatten(-2) @ self.values


class ChildMajorCells(Dense):
    """Cells in the order child, parent."""

    reason = "stored parent by parent"

    def child_weights(self, x):
        return self.child_logits(x).unflatten(-1, (self.C, self.E)).softmax(-2)

    def combine(self, parent_weights, child_weights):
        return (child_weights * parent_weights.unsqueeze(-2)).flatten(-2) @ self.values


class ValuesInOtherOrder(Dense):
    reason = "not in the same order"

    def combine(self, parent_weights, child_weights):
        joint = (child_weights * parent_weights.unsqueeze(-1)).transpose(-1, -2)
        return torch.einsum("bsce,ceh->bsh", joint, self.values.view(self.C, self.E, self.H))


class ScaledWeights(Dense):
    reason = "multiplied by"

    def parent_weights(self, x):
        return super().parent_weights(x) * 0.5


class SwappedParents(Dense):
    """The parents' weights meet the cells in reverse order."""

    reason = "`flip`"

    def parent_weights(self, x):
        return super().parent_weights(x).flip(-1)


class HalfPrecision(Dense):
    reason = ""

    def forward(self, x):
        return super().forward(x.half()).float()

    def __init__(self, *arguments, **named):
        super().__init__(*arguments, **named)
        self.half()


class SquaredWeights(Dense):
    reason = "arithmetic"

    def parent_weights(self, x):
        return super().parent_weights(x).pow(2)


class SomeOfTheChosen(Gather):
    """K rows are chosen, and the last of them is dropped after the softmax."""

    reason = "single entries"

    def forward(self, x):
        weights, index = self.choose(x)
        weights, index = weights[..., 1:], index[..., 1:]
        children = self.attend(x, self.cells(self.keys, index))
        return x + self.combine(weights, children, self.cells(self.values, index))


class RoundedSelection(Dense):
    """The selection is made on other numbers than the softmax."""

    reason = "does not rank parent logits"

    def parent_weights(self, x):
        logits = self.parent_logits(x)
        index = logits.round(decimals=1).topk(self.K, dim=-1).indices
        keep = torch.zeros_like(logits).scatter(-1, index, 1.0)
        return logits.masked_fill(keep == 0, float("-inf")).softmax(-1)


class OtherLogitsMasked(Dense):
    """The mask of one set of parents on the logits of another."""

    reason = "other logits than those it was made from"

    def parent_weights(self, x):
        mine = self.parent_logits(x)
        index = F.linear(x, self.values[: self.E]).topk(self.K, dim=-1).indices
        keep = torch.zeros_like(mine).scatter(-1, index, 1.0)
        return mine.masked_fill(keep == 0, float("-inf")).softmax(-1)


class ThirdWeight(Dense):
    """A gate of every parent on top."""

    reason = ""

    def combine(self, parent_weights, child_weights):
        gate = torch.linspace(0.5, 1.5, self.E)
        return (child_weights * (parent_weights * gate).unsqueeze(-1)).flatten(-2) @ self.values


class MaximumOverParents(Dense):
    """The strongest parent's answer in place of the sum."""

    reason = ""

    def combine(self, parent_weights, child_weights):
        inner = torch.einsum("bsec,ech->bseh", child_weights, self.values.view(self.E, self.C, self.H))
        return (parent_weights.unsqueeze(-1) * inner).amax(-2)


class Router(nn.Module):
    """A mixture of experts: a top-K that has nothing to do with a memory."""

    reason = ""

    def __init__(self, H: int = 16, experts: int = 4):
        super().__init__()
        self.gate = nn.Linear(H, experts, bias=False)
        self.up = nn.Parameter(torch.randn(experts, H, H))
        self.eval()

    def forward(self, x):
        weights = dense_weights(self.gate(x), 2)
        return torch.einsum("bse,bseh->bsh", weights, F.gelu(torch.einsum("bsh,ehj->bsej", x, self.up)))


class BeamSearch(nn.Module):
    """The best of all scores, flattened, as a beam search keeps them."""

    reason = ""

    def __init__(self, H: int = 16, vocabulary: int = 11):
        super().__init__()
        self.head = nn.Linear(H, vocabulary)
        self.eval()

    def forward(self, x):
        scores = self.head(x).log_softmax(-1)
        best, index = scores.flatten(1).topk(4)
        return best, index // scores.shape[-1], index % scores.shape[-1]


NEAR_MISSES = [
    kind
    for kind in list(globals().values())
    if isinstance(kind, type)
    and issubclass(kind, nn.Module)
    and hasattr(kind, "reason")
    and kind not in (Form, Dense, Gather, PublishedDense)
]
