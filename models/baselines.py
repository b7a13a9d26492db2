"""What SPARTAN is compared with: adapters, LoRA, and the two ends, classifier only and full fine-tuning.

    houlsby   a bottleneck after each half of a layer, before its residual; LayerNorms are trained too
              (Houlsby et al. 2019, arXiv 1902.00751)
    pfeiffer  one bottleneck, after the second half (Pfeiffer et al. 2020, arXiv 2005.00052)
    lora      low-rank updates of the query and value projections (Hu et al. 2021, arXiv 2106.09685)
    head      the classifier only
    full      every parameter

They share SPARTAN's encoder, head, data and Trainer. All of them start as the plain encoder: what a bottleneck or an
update adds is zero at first.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from spartanc.errors import UsageError
from spartanc.models.classifier import SpartanClassifier

METHODS = ("houlsby", "pfeiffer", "lora", "head", "full")


class Bottleneck(nn.Module):
    """linear(x) -> h + up(gelu(down(h))): an adapter behind a frozen linear."""

    def __init__(self, linear: nn.Linear, size: int):
        super().__init__()
        self.linear = linear
        self.added_down = nn.Linear(linear.out_features, size)
        self.added_up = nn.Linear(size, linear.out_features)
        nn.init.zeros_(self.added_up.weight)
        nn.init.zeros_(self.added_up.bias)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.linear(x)
        return hidden + self.added_up(functional.gelu(self.added_down(hidden)))


class LowRank(nn.Module):
    """linear(x) + up(down(x)): a low-rank update of a frozen linear, its strength alpha / rank = 2."""

    def __init__(self, linear: nn.Linear, rank: int):
        super().__init__()
        self.linear = linear
        self.added_down = nn.Linear(linear.in_features, rank, bias=False)
        self.added_up = nn.Linear(rank, linear.out_features, bias=False)
        nn.init.zeros_(self.added_up.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) + 2.0 * self.added_up(self.added_down(x))


class BaselineClassifier(SpartanClassifier):
    """A classifier without memories, changed in place to be trained by `method`.

    size: width of a bottleneck (48 unless given), or LoRA's rank (8).
    """

    def __init__(self, classifier: SpartanClassifier, method: str, size: int | None = None):
        nn.Module.__init__(self)
        if method not in METHODS:
            raise UsageError(f"method `{method}` is not one of {', '.join(METHODS)}")
        if classifier.spartan is not None:
            raise ValueError("a baseline is built on a classifier without memories")
        self.adapter, self.config = classifier.adapter, classifier.config
        self.spartan, self.segment_separator = None, classifier.segment_separator
        self.network, self.pooling = classifier.network, classifier.pooling
        self.method = method
        names = {
            "houlsby": (self.adapter.attention_output, self.adapter.layer_output),
            "pfeiffer": (self.adapter.layer_output,),
            "lora": (self.adapter.query, self.adapter.value),
        }.get(method, ())
        for layer in self.layers():
            for name in dict.fromkeys(names):  # one linear makes query and value of ModernBERT
                parent, _, last = name.rpartition(".")
                owner, linear = layer.get_submodule(parent), layer.get_submodule(name)
                added = LowRank(linear, size or 8) if method == "lora" else Bottleneck(linear, size or 48)
                setattr(owner, last, added)

    def task_names(self) -> list[str]:
        """Names of the parameters that the method trains."""
        names = [name for name, _ in self.named_parameters()]
        if self.method == "full":
            return names
        norms = set(super().task_names()) if self.method == "houlsby" else set()
        head = self.head_prefixes()
        return [name for name in names if name in norms or ".added_" in name or name.startswith(head)]
