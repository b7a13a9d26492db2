"""Tiny compiled programs: (ids int64[1, L], mask int64[1, L]) -> float32[1, C], as real ones are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

VOCABULARY, HIDDEN, CLASSES, MAX_LENGTH = 50, 16, 3, 24

Row = tuple[np.ndarray, np.ndarray]


class TinyClassifier(nn.Module):
    """Mean of the embeddings under the mask, two linears."""

    def __init__(self, seed: int = 0):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)

        def draw(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.randn(*shape, generator=generator) / shape[-1] ** 0.5, requires_grad=False)

        self.embedding_VH = draw(VOCABULARY, HIDDEN)
        self.hidden = nn.Linear(HIDDEN, HIDDEN)
        self.head = nn.Linear(HIDDEN, CLASSES)
        for layer in (self.hidden, self.head):
            layer.weight, layer.bias = draw(*layer.weight.shape), draw(*layer.bias.shape)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        x_BLH = torch.nn.functional.embedding(input_ids, self.embedding_VH)
        weights_BL1 = attention_mask.to(x_BLH.dtype).unsqueeze(-1)
        pooled_BH = (x_BLH * weights_BL1).sum(1) / weights_BL1.sum(1)
        return self.head(torch.relu(self.hidden(pooled_BH)))


class SlowClassifier(TinyClassifier):
    """The same logits, after products of large matrices that add nothing to them: a quarter of a second at least."""

    def __init__(self, size: int = 1024):
        super().__init__()
        self.large = nn.Parameter(torch.eye(size), requires_grad=False)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        logits_BC = super().forward(input_ids, attention_mask)
        product = torch.mm(torch.mm(self.large, self.large + logits_BC.sum()), self.large)
        return logits_BC + 0 * product.sum()


def export_tiny(path: Path, seed: int = 0) -> TinyClassifier:
    """Write the compiled TinyClassifier to `path`; returns the module it came from."""
    module = TinyClassifier(seed).eval()
    export(module, path)
    return module


def export(module: TinyClassifier, path: Path) -> None:
    """Write the compiled module to `path`."""
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    length = torch.export.Dim("length", min=1, max=MAX_LENGTH)
    example = (torch.ones(1, 5, dtype=torch.int64), torch.ones(1, 5, dtype=torch.int64))
    with torch.inference_mode():
        program = torch.export.export(module, example, dynamic_shapes=({1: length}, {1: length}))
    # A slow module is one without XNNPACK's kernels.
    partitioners = [] if isinstance(module, SlowClassifier) else [XnnpackPartitioner()]
    path.write_bytes(to_edge_transform_and_lower(program, partitioner=partitioners).to_executorch().buffer)


def tiny_rows(count: int = 6, seed: int = 1) -> list[Row]:
    """Rows (ids [1, L], mask [1, L]) of several lengths, the least and the largest among them."""
    generator = np.random.default_rng(seed)
    lengths = [1, MAX_LENGTH, *generator.integers(2, MAX_LENGTH, max(count - 2, 0)).tolist()][:count]
    return [(generator.integers(0, VOCABULARY, (1, length)), np.ones((1, length), np.int64)) for length in lengths]


def eager_logits(module: nn.Module, rows: list[Row]) -> list[np.ndarray]:
    with torch.inference_mode():
        return [module(torch.from_numpy(ids), torch.from_numpy(mask))[0].numpy() for ids, mask in rows]
