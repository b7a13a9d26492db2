"""Memory tensors in the layouts that the kernels read.

They are specified in runtime_py/native/kernels/include/spartan/memory_lookup.h. Packing happens once, at
compile time, and undoing it is exact.
Legend: H hidden, E parents, M cells, C cells a parent, N packed logit columns.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from spartanc.passes.ops.memory_lookup import BLOCK_COLUMNS, INT4_GROUP, QUAD, VALUE_COLUMNS


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

    Which of the two is faster depends on the shape: see `spartanc.passes.memory_site.FormChoice`.
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


def pack_value_quads(values_MH: Tensor) -> Tensor:
    """[ceil(H / 64), ceil(M / 16), 4, 64, 4]: values_MH[m, h] at [h // 64, m // 16, m // 4 % 4, h % 64, m % 4].

    Four cells stand together because one step of an integer product takes four; zeros past M and H.
    """
    cells, hidden = values_MH.shape
    padded = torch.nn.functional.pad(values_MH, (0, -hidden % VALUE_COLUMNS, 0, -cells % BLOCK_COLUMNS))
    split = padded.view(-1, BLOCK_COLUMNS // QUAD, QUAD, padded.shape[1] // VALUE_COLUMNS, VALUE_COLUMNS)
    return split.permute(3, 0, 1, 4, 2).contiguous()


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

    With `pack_keys=False` keys stay row-major, for memories with many more cells than a position uses.
    """
    layout = torch.tensor([len(parents_EH), len(keys_MH), top_k], dtype=torch.int64)
    parents = pack_logit_weights(parents_EH)
    key_scales = key_scales_M.reshape(-1).float() / temperature
    values = pack_value_quads(values_MH.to(torch.int8))
    value_scales = _whole_blocks(value_scales_M.reshape(-1, 1).float()).flatten()
    keys_MH = keys_MH.to(torch.int8)
    hidden = keys_MH.shape[1]
    if not pack_keys:
        rows = torch.nn.functional.pad(keys_MH, (0, -hidden % VALUE_COLUMNS)).contiguous()
        return QuantizedMemory(layout, parents, rows, key_scales, values, value_scales)
    columns = torch.nn.functional.pad(_padded_columns(keys_MH, len(parents_EH)), (0, -hidden % QUAD))
    key_cells = columns.view(-1, BLOCK_COLUMNS, columns.shape[1] // QUAD, QUAD).transpose(1, 2).contiguous()
    packed_scales = _padded_columns(key_scales.unsqueeze(1), len(parents_EH)).flatten()
    return QuantizedMemory(layout, parents, key_cells, packed_scales, values, value_scales)


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
    quads = pack_value_quads(values_MH.to(torch.int8))
    value_cells = _nibbles(quads[..., :INT4_GROUP, :], quads[..., INT4_GROUP:, :])
    value_scales = _whole_blocks(value_scales_MG.float())
    if not pack_keys:
        rows = torch.nn.functional.pad(keys_MH.to(torch.int8), (0, -hidden % VALUE_COLUMNS))
        chunks = rows.unflatten(1, (-1, 2, INT4_GROUP))
        key_cells = _nibbles(chunks[:, :, 0], chunks[:, :, 1]).flatten(1)
        return QuantizedMemory(layout, parents, key_cells, key_scales.contiguous(), value_cells, value_scales)
    columns = _padded_columns(keys_MH.to(torch.int8), len(parents_EH))
    octets = columns.view(-1, BLOCK_COLUMNS, hidden // 8, 2, QUAD)
    key_cells = _nibbles(octets[..., 0, :], octets[..., 1, :]).transpose(1, 2).contiguous()
    packed_scales = _padded_columns(key_scales, len(parents_EH)).view(-1, BLOCK_COLUMNS, hidden // INT4_GROUP)
    return QuantizedMemory(
        layout, parents, key_cells, packed_scales.transpose(1, 2).contiguous(), value_cells, value_scales
    )


def _padded_columns(rows_MH: Tensor, parent_count: int) -> Tensor:
    """Cells (e*C + c) in the order of packed columns (c*E + e), filled up with zeros to whole blocks."""
    columns = rows_MH.unflatten(0, (parent_count, -1)).transpose(0, 1).flatten(0, 1)
    return torch.nn.functional.pad(columns, (0, 0, 0, -len(columns) % BLOCK_COLUMNS))


def _nibbles(low: Tensor, high: Tensor) -> Tensor:
    """uint8 of integers within -8 to 7: `low` plus 8 in the low half of each byte, `high` plus 8 in the other."""
    return ((low + 8).to(torch.uint8) | (high + 8).to(torch.uint8) << 4).contiguous()


def _whole_blocks(rows_MG: Tensor) -> Tensor:
    """Filled up with rows of zeros to whole blocks of cells."""
    return torch.nn.functional.pad(rows_MG, (0, 0, 0, -len(rows_MG) % BLOCK_COLUMNS)).contiguous()
