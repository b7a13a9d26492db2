"""Memory tensors in the layouts that the kernels read.

They are specified in runtime_py/native/kernels/include/spartan/memory_lookup.h. Packing happens once, at
compile time, and undoing it is exact.
Legend: H hidden, E parents, M cells, C cells a parent, N packed logit columns.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from spartanc.compiler.ops.memory_lookup import BLOCK_COLUMNS, VALUE_COLUMNS


class PackedMemory(NamedTuple):
    """Arguments of `spartan::memory_lookup.packed` after x, in its order."""

    layout: Tensor
    logit_weights: Tensor
    keys: Tensor | None
    values: Tensor


def pack_memory(
    parents_EH: Tensor,
    keys_MH: Tensor,
    values_MH: Tensor,
    top_k: int,
    temperature: float,
    *,
    pack_keys: bool = True,
) -> PackedMemory:
    """A memory for `spartan::memory_lookup.packed`: all packed, or with `pack_keys=False` the parents alone.

    Which of the two is faster depends on the shape: see `cost.choose_form`.
    """
    layout = torch.tensor([parents_EH.shape[0], keys_MH.shape[0], top_k], dtype=torch.int64)
    scaled_keys_MH = keys_MH / temperature
    if not pack_keys:
        return PackedMemory(layout, pack_logit_weights(parents_EH), scaled_keys_MH.contiguous(), values_MH.contiguous())
    return PackedMemory(layout, pack_logit_weights(parents_EH, scaled_keys_MH), None, pack_values(values_MH))


def pack_logit_weights(parents_EH: Tensor, scaled_keys_MH: Tensor | None = None) -> Tensor:
    """float32 [ceil(N / 16), H, 16]: logit n's weights at [n // 16, :, n % 16]; zeros past N.

    Logit e < E is parent e. With keys, logit E + c*E + e is child c of parent e (cell e*C + c): parents run
    fastest, so that the children's softmaxes are vector operations along parents.
    """
    parent_count, hidden = parents_EH.shape
    rows_NH = parents_EH
    if scaled_keys_MH is not None:
        keys_ECH = scaled_keys_MH.view(parent_count, -1, hidden)
        rows_NH = torch.cat([parents_EH, keys_ECH.transpose(0, 1).reshape(-1, hidden)])
    count = rows_NH.shape[0]
    blocks = -(-count // BLOCK_COLUMNS)
    padded = rows_NH.new_zeros(blocks * BLOCK_COLUMNS, hidden)
    padded[:count] = rows_NH
    return padded.view(blocks, BLOCK_COLUMNS, hidden).transpose(1, 2).contiguous()


def pack_values(values_MH: Tensor) -> Tensor:
    """float32 [ceil(H / 64), M, 64]: values_MH[m, h] at [h // 64, m, h % 64]; zeros past H."""
    cells, hidden = values_MH.shape
    blocks = -(-hidden // VALUE_COLUMNS)
    padded = values_MH.new_zeros(cells, blocks * VALUE_COLUMNS)
    padded[:, :hidden] = values_MH
    return padded.view(cells, blocks, VALUE_COLUMNS).transpose(0, 1).contiguous()
