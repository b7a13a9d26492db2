"""Memory tensors in the layouts that the kernels read.

They are specified in runtime_py/native/kernels/include/spartan/memory_lookup.h. Packing happens once, at compile time. Legend: H hidden, E parents, M cells, N packed logit columns.
"""

from __future__ import annotations

import torch
from torch import Tensor

from spartanc.compiler.ops.memory_lookup import BLOCK_COLUMNS


def pack_logit_weights(parents_EH: Tensor, scaled_keys_MH: Tensor | None = None) -> Tensor:
    """float32 [ceil(N / 16), H, 16]: row n of [parents; keys / temperature] at [n // 16, :, n % 16].

    Columns past N are zero. Without keys only the parents are packed (N = E): the form for large M.
    """
    rows_NH = parents_EH if scaled_keys_MH is None else torch.cat([parents_EH, scaled_keys_MH])
    count, hidden = rows_NH.shape
    blocks = -(-count // BLOCK_COLUMNS)
    padded = rows_NH.new_zeros(blocks * BLOCK_COLUMNS, hidden)
    padded[:count] = rows_NH
    return padded.view(blocks, BLOCK_COLUMNS, hidden).transpose(1, 2).contiguous()


def unpack_logit_weights(packed: Tensor, count: int) -> Tensor:
    """The `count` rows [N, H] that `pack_logit_weights` was given."""
    return packed.transpose(1, 2).reshape(-1, packed.shape[1])[:count]
