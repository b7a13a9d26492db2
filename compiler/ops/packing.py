"""Memory tensors in the layouts that the kernels read.

They are specified in runtime_py/native/kernels/include/spartan/memory_lookup.h. Packing happens once, at
compile time, and undoing it is exact.
Legend: H hidden, E parents, M cells, C cells a parent, N packed logit columns.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from spartanc.compiler.ops.memory_lookup import BLOCK_COLUMNS, INT4_GROUP, VALUE_COLUMNS


class PackedMemory(NamedTuple):
    """Arguments of `spartan::memory_lookup.packed` after x, in its order."""

    layout: Tensor
    logit_weights: Tensor
    keys: Tensor | None
    values: Tensor


class QuantizedMemory(NamedTuple):
    """Arguments of `spartan::memory_lookup.int8` and `.int4` after x, in their order; `.int4` then has INT4_GROUP."""

    layout: Tensor
    logit_weights: Tensor
    key_cells: Tensor
    key_scales: Tensor
    value_cells: Tensor
    value_scales: Tensor


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


def pack_int8(
    parents_EH: Tensor,
    keys_MH: Tensor,
    key_scales_M: Tensor,
    values_MH: Tensor,
    value_scales_M: Tensor,
    top_k: int,
    temperature: float,
    *,
    pack_keys: bool = True,
) -> QuantizedMemory:
    """A memory with int8 cells for `spartan::memory_lookup.int8`; key = keys_MH * key_scales_M, values alike.

    With `pack_keys=False` cells stay row-major, for memories with many more cells than a position uses.
    """
    layout = torch.tensor([len(parents_EH), len(keys_MH), top_k], dtype=torch.int64)
    parents = pack_logit_weights(parents_EH)
    keys_MH, values_MH = keys_MH.to(torch.int8), values_MH.to(torch.int8)
    key_scales = key_scales_M.reshape(-1).float() / temperature
    value_scales = value_scales_M.reshape(-1).float().contiguous()
    if not pack_keys:
        return QuantizedMemory(layout, parents, keys_MH.contiguous(), key_scales, values_MH.contiguous(), value_scales)
    columns = _padded_columns(keys_MH, len(parents_EH))
    count, hidden = columns.shape
    quads = -(-hidden // 4)
    padded = torch.nn.functional.pad(columns, (0, quads * 4 - hidden))
    key_cells = padded.view(count // BLOCK_COLUMNS, BLOCK_COLUMNS, quads, 4).transpose(1, 2).contiguous()
    packed_scales = _padded_columns(key_scales.unsqueeze(1), len(parents_EH)).flatten()
    return QuantizedMemory(layout, parents, key_cells, packed_scales, pack_values(values_MH), value_scales)


def pack_int4(
    parents_EH: Tensor,
    keys_MH: Tensor,
    key_scales_MG: Tensor,
    values_MH: Tensor,
    value_scales_MG: Tensor,
    top_k: int,
    temperature: float,
    *,
    pack_keys: bool = True,
) -> QuantizedMemory:
    """A memory with 4-bit cells for `spartan::memory_lookup.int4`; cells hold integers from -8 to 7, G = H / 32.

    Raises ValueError where H is not a multiple of 32.
    """
    hidden = parents_EH.shape[1]
    if hidden % INT4_GROUP != 0:
        raise ValueError(f"int4 groups of {INT4_GROUP} do not divide the hidden size {hidden}")
    layout = torch.tensor([len(parents_EH), len(keys_MH), top_k], dtype=torch.int64)
    parents = pack_logit_weights(parents_EH)
    key_scales = key_scales_MG.float() / temperature
    value_cells, value_scales = _nibble_rows(values_MH), value_scales_MG.float().contiguous()
    if not pack_keys:
        return QuantizedMemory(layout, parents, _nibble_rows(keys_MH), key_scales, value_cells, value_scales)
    # Padding columns hold zeros (nibble 8), as the kernels ask.
    columns = (_padded_columns(keys_MH.to(torch.int8), len(parents_EH)) + 8).to(torch.uint8)
    octets = columns.view(-1, BLOCK_COLUMNS, hidden // 8, 2, 4)
    key_cells = (octets[..., 0, :] | octets[..., 1, :] << 4).transpose(1, 2).contiguous()
    packed_scales = _padded_columns(key_scales, len(parents_EH)).view(-1, BLOCK_COLUMNS, hidden // INT4_GROUP)
    return QuantizedMemory(
        layout, parents, key_cells, packed_scales.transpose(1, 2).contiguous(), value_cells, value_scales
    )


def _padded_columns(rows_MH: Tensor, parent_count: int) -> Tensor:
    """Cells (e*C + c) in the order of packed columns (c*E + e), filled up with zeros to whole blocks."""
    columns = rows_MH.unflatten(0, (parent_count, -1)).transpose(0, 1).flatten(0, 1)
    return torch.nn.functional.pad(columns, (0, 0, 0, -len(columns) % BLOCK_COLUMNS))


def _nibble_rows(cells_MH: Tensor) -> Tensor:
    """uint8 [M, H / 2]: in every 16 bytes, byte i holds h % 32 = i (low) and i + 16 (high), both plus 8."""
    groups = (cells_MH.to(torch.int8) + 8).to(torch.uint8).unflatten(1, (-1, 2, INT4_GROUP // 2))
    return (groups[:, :, 0] | groups[:, :, 1] << 4).flatten(1).contiguous()
