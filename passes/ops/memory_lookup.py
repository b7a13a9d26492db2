"""`spartan::memory_lookup`: one position's walk through the two-level memory, as one operator.

Source: SPARTAN, arXiv 2211.16634, section 3. For every position's vector x of length H:

    p_E  = parents_EH · x                   parent logits
    S    = the `top_k` largest of p         exact ties take the lower index
    a_S  = softmax(p_S)
    c_eC = keys_e · x / temperature         for e in S; C = M / E cells a parent
    b_eC = softmax(c_e)                     within one parent
    y_H  = sum_e a_e sum_m b_em values_em

One lookup has several overloads, which differ in how the memory is laid out, not in what they compute:

    memory_lookup            parents, keys and values as they are
    memory_lookup.packed     logit weights packed for the kernels (see packing.py), shape of the memory as
                             data, optionally with the residual and the LayerNorm that follow
    memory_lookup.int8       the same with keys and values in int8, a scale for each cell
    memory_lookup.int4       the same with keys and values in 4 bits, a scale for every 32 hidden of a cell

The last two compute on the integers, as their kernels do: x becomes integers within -127 to 127 of a scale a position,
and the weights of the cells times the cells' scales become integers within 0 to 127 of a scale a position (and group);
sums of products are exact. Parents' logits are products in float32 of x as it is.

Legend: B any leading dimensions, H hidden size, E parents, M cells in all (parent-major), C cells a parent,
K top_k.
The eager reference below is the definition: kernels are tested against it, and against float64.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from spartanc.passes.ops.define import define_operator

BLOCK_COLUMNS = 16  # columns of one packed block of logit weights; the kernels' kBlockColumns
INT4_GROUP = 32  # hidden that share one scale of int4 cells; the kernels' kInt4Group
QUAD = 4  # integers that one step of an integer product takes; the kernels' kQuad
VALUE_COLUMNS = 64  # columns of one packed block of values; the kernels' kValueColumns
_LARGEST = 127  # of the integers that activations and weights become
_TOO_SMALL = 2.0**-100  # rows of smaller magnitude become zero

_ROWS = "Tensor x, Tensor parents, Tensor keys, Tensor values, int top_k, float temperature"
_EPILOGUE = "Tensor? norm_weight, Tensor? norm_bias, float norm_eps, bool residual"
_PACKED = f"Tensor x, Tensor layout, Tensor logit_weights, Tensor? keys, Tensor values, {_EPILOGUE}"
_CELLS = "Tensor key_cells, Tensor key_scales, Tensor value_cells, Tensor value_scales"
_QUANTIZED = f"Tensor x, Tensor layout, Tensor logit_weights, {_CELLS}"
# ExecuTorch finds an overload's out variant by its arguments, not by its name: no two overloads may have the same.
_INT8 = f"{_QUANTIZED}, {_EPILOGUE}"
_INT4 = f"{_QUANTIZED}, int group_size, {_EPILOGUE}"


def memory_lookup(
    x_BH: Tensor, parents_EH: Tensor, keys_MH: Tensor, values_MH: Tensor, top_k: int, temperature: float
) -> Tensor:
    """What the memory adds to `x_BH` [..., H]; result of the same shape and type.

    parents_EH [E, H]; keys_MH and values_MH [M, H], the C = M/E cells of parent e at rows e*C to e*C + C - 1.
    Raises RuntimeError where shapes disagree, M is not a multiple of E, or top_k is not within 1 to E.
    """
    _check(x_BH, parents_EH, keys_MH, values_MH, top_k)
    return _lookup(_parent_logits(x_BH, parents_EH), x_BH @ keys_MH.T / temperature, values_MH, top_k)


def memory_lookup_packed(
    x_BH: Tensor,
    layout: Tensor,
    logit_weights: Tensor,
    keys_MH: Tensor | None,
    values: Tensor,
    norm_weight_H: Tensor | None,
    norm_bias_H: Tensor | None,
    norm_eps: float,
    residual: bool,
) -> Tensor:
    """The lookup from packed tensors, then `x + y` if `residual`, then LayerNorm if a weight is given.

    layout: int64 [3], the numbers E, M, K: data, so that one program serves memories of several shapes.
    Without `keys_MH` all is packed, by `packing.pack_memory`: logit_weights [ceil((E + M) / 16), H, 16],
    values [ceil(H / 64), M, 64]. With `keys_MH` [M, H] (already divided by the temperature) only the parents
    are packed, logit_weights [ceil(E / 16), H, 16], and values are [M, H].
    Raises RuntimeError where shapes disagree.
    """
    parent_count, cells, top_k = layout.tolist()
    hidden = x_BH.shape[-1]
    columns = parent_count if keys_MH is not None else parent_count + cells
    _check_shape("logit_weights", logit_weights, -(-columns // BLOCK_COLUMNS), hidden, BLOCK_COLUMNS)
    torch._check(cells % parent_count == 0, lambda: "M must be a multiple of E")
    weights_NH = logit_weights.transpose(1, 2).reshape(-1, hidden)
    parents_EH = weights_NH[:parent_count]
    if keys_MH is None:
        _check_shape("values", values, -(-hidden // VALUE_COLUMNS), cells, VALUE_COLUMNS)
        values_MH = values.transpose(0, 1).reshape(cells, -1)[:, :hidden]
        keys_CEH = weights_NH[parent_count:columns].view(cells // parent_count, parent_count, hidden)
        keys_MH = keys_CEH.transpose(0, 1).reshape(cells, hidden)
    else:
        values_MH = values
    _check(x_BH, parents_EH, keys_MH, values_MH, top_k)
    y_BH = _lookup(_parent_logits(x_BH, parents_EH), x_BH @ keys_MH.T, values_MH, top_k)
    return _epilogue(x_BH, y_BH, norm_weight_H, norm_bias_H, norm_eps, residual)


def memory_lookup_int8(
    x_BH: Tensor,
    layout: Tensor,
    logit_weights: Tensor,
    key_cells: Tensor,
    key_scales: Tensor,
    value_cells: Tensor,
    value_scales: Tensor,
    norm_weight_H: Tensor | None,
    norm_bias_H: Tensor | None,
    norm_eps: float,
    residual: bool,
) -> Tensor:
    """`memory_lookup_packed` with int8 keys and values, as `packing.pack_int8` makes them; parents in float32.

    Packed: key_cells int8 [ceil(M / 16), ceil(H / 4), 16, 4], key_scales [ceil(M / 16) * 16]. Rows: key_cells int8
    [M, ceil(H / 64) * 64], key_scales [M]. Both: value_cells int8 [ceil(H / 64), ceil(M / 16), 4, 64, 4], value_scales
    [ceil(M / 16) * 16]. The temperature is in key_scales.
    """
    parent_count, cells, top_k = layout.tolist()
    hidden = x_BH.shape[-1]
    torch._check(cells % parent_count == 0, lambda: "M must be a multiple of E")
    blocks, wide = -(-cells // BLOCK_COLUMNS), -(-hidden // VALUE_COLUMNS)
    if key_cells.dim() == 4:
        _check_shape("key_cells", key_cells, blocks, -(-hidden // QUAD), BLOCK_COLUMNS, QUAD)
        _check_shape("key_scales", key_scales, blocks * BLOCK_COLUMNS)
        keys_NH = key_cells.transpose(1, 2).reshape(blocks * BLOCK_COLUMNS, -1)
        keys_MH, key_scales_M = (_by_cell(each[:cells], parent_count) for each in (keys_NH, key_scales))
    else:
        _check_shape("key_cells", key_cells, cells, wide * VALUE_COLUMNS)
        _check_shape("key_scales", key_scales, cells)
        keys_MH, key_scales_M = key_cells, key_scales
    _check_shape("value_cells", value_cells, wide, blocks, BLOCK_COLUMNS // QUAD, VALUE_COLUMNS, QUAD)
    _check_shape("value_scales", value_scales, blocks * BLOCK_COLUMNS)
    memory = _Cells(
        keys_MH[:, :hidden], key_scales_M.unsqueeze(1),
        _unpack_quads(value_cells, cells, hidden), value_scales[:cells].unsqueeze(1),
    )  # fmt: skip
    y_BH = _integer_lookup(x_BH, _parents(logit_weights, parent_count, hidden), memory, top_k)
    return _epilogue(x_BH, y_BH, norm_weight_H, norm_bias_H, norm_eps, residual)


def memory_lookup_int4(
    x_BH: Tensor,
    layout: Tensor,
    logit_weights: Tensor,
    key_cells: Tensor,
    key_scales: Tensor,
    value_cells: Tensor,
    value_scales: Tensor,
    group_size: int,
    norm_weight_H: Tensor | None,
    norm_bias_H: Tensor | None,
    norm_eps: float,
    residual: bool,
) -> Tensor:
    """`memory_lookup_packed` with 4-bit keys and values, as `packing.pack_int4` makes them; parents in float32.

    H is a multiple of group_size, which is 32. Packed: key_cells uint8 [ceil(M / 16), H / 8, 16, 4], key_scales
    [ceil(M / 16), H / 32, 16]. Rows: key_cells uint8 [M, ceil(H / 64) * 32], key_scales [M, H / 32]. Both: value_cells
    uint8 [ceil(H / 64), ceil(M / 16), 4, 32, 4], value_scales [ceil(M / 16) * 16, H / 32].
    """
    parent_count, cells, top_k = layout.tolist()
    hidden = x_BH.shape[-1]
    torch._check(group_size == INT4_GROUP, lambda: f"group_size must be {INT4_GROUP}, got {group_size}")
    torch._check(hidden % INT4_GROUP == 0, lambda: f"int4 needs H to be a multiple of {INT4_GROUP}, got {hidden}")
    torch._check(cells % parent_count == 0, lambda: "M must be a multiple of E")
    groups = hidden // INT4_GROUP
    blocks, wide = -(-cells // BLOCK_COLUMNS), -(-hidden // VALUE_COLUMNS)
    if key_cells.dim() == 4:
        _check_shape("key_cells", key_cells, blocks, hidden // 8, BLOCK_COLUMNS, QUAD)
        _check_shape("key_scales", key_scales, blocks, groups, BLOCK_COLUMNS)
        keys_NH = _nibbles(key_cells, -1).transpose(1, 2).reshape(blocks * BLOCK_COLUMNS, hidden)
        scales_NG = key_scales.transpose(1, 2).reshape(-1, groups)
        keys_MH, key_scales_MG = (_by_cell(each[:cells], parent_count) for each in (keys_NH, scales_NG))
    else:
        _check_shape("key_cells", key_cells, cells, wide * INT4_GROUP)
        _check_shape("key_scales", key_scales, cells, groups)
        keys_MH, key_scales_MG = _nibbles(key_cells.unflatten(1, (-1, INT4_GROUP)), -1).flatten(1), key_scales
    _check_shape("value_cells", value_cells, wide, blocks, BLOCK_COLUMNS // QUAD, INT4_GROUP, QUAD)
    _check_shape("value_scales", value_scales, blocks * BLOCK_COLUMNS, groups)
    memory = _Cells(
        keys_MH[:, :hidden], key_scales_MG,
        _unpack_quads(_nibbles(value_cells, -2), cells, hidden), value_scales[:cells],
    )  # fmt: skip
    y_BH = _integer_lookup(x_BH, _parents(logit_weights, parent_count, hidden), memory, top_k)
    return _epilogue(x_BH, y_BH, norm_weight_H, norm_bias_H, norm_eps, residual)


class _Cells(NamedTuple):
    """Integers int8 [M, H] and their scales float [M, G], G groups of H."""

    keys: Tensor
    key_scales: Tensor
    values: Tensor
    value_scales: Tensor


def _integer_lookup(x_BH: Tensor, parents_EH: Tensor, memory: _Cells, top_k: int) -> Tensor:
    _check(x_BH, parents_EH, memory.keys, memory.values, top_k)
    groups = memory.key_scales.shape[1]
    rows_BH, row_scales_B = to_integers(x_BH)
    # Integers in float64: every sum of products is exact.
    rows_BGW = rows_BH.double().unflatten(-1, (groups, -1))
    keys_MGW = memory.keys.double().unflatten(-1, (groups, -1))
    sums_BMG = torch.einsum("...gw,mgw->...mg", rows_BGW, keys_MGW).to(x_BH.dtype)
    child_logits_BM = (sums_BMG * memory.key_scales).sum(-1) * row_scales_B
    weights_BM = _cell_weights(_parent_logits(x_BH, parents_EH), child_logits_BM, top_k)
    weights_BGM, weight_scales_BG = to_integers(weights_BM.unsqueeze(-2) * memory.value_scales.T)
    values_MGW = memory.values.double().unflatten(-1, (groups, -1))
    y_BGW = torch.einsum("...gm,mgw->...gw", weights_BGM.double(), values_MGW).to(x_BH.dtype) * weight_scales_BG
    return y_BGW.flatten(-2)


def to_integers(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Rows as integers within -127 to 127, ties rounded to even, and their scales [..., 1].

    A row that is not finite is zeros with a scale of NaN.
    """
    largest = rows.abs().amax(-1, keepdim=True)
    usable = largest.isfinite() & (largest >= _TOO_SMALL)
    integers = torch.where(usable, (rows * (_LARGEST / largest)).round(), 0.0)
    unusable = torch.where(largest.isfinite(), 0.0, torch.nan)
    return integers, torch.where(usable, largest / _LARGEST, unusable)


def _nibbles(halves: Tensor, dim: int) -> Tensor:
    """Integers within -8 to 7: along `dim` the low halves of all bytes, then the high ones."""
    return torch.cat([halves & 15, halves >> 4], dim=dim).to(torch.int8) - 8


def _unpack_quads(quads: Tensor, cells: int, hidden: int) -> Tensor:
    """Values [M, H] from `packing.pack_value_quads`."""
    return quads.permute(1, 2, 4, 0, 3).flatten(0, 2).flatten(1)[:cells, :hidden]


def _parents(logit_weights: Tensor, parent_count: int, hidden: int) -> Tensor:
    _check_shape("logit_weights", logit_weights, -(-parent_count // BLOCK_COLUMNS), hidden, BLOCK_COLUMNS)
    return logit_weights.transpose(1, 2).reshape(-1, hidden)[:parent_count]


def _by_cell(rows_NH: Tensor, parent_count: int) -> Tensor:
    """Rows in the order of packed columns (c*E + e) in the order of cells (e*C + c)."""
    return rows_NH.unflatten(0, (-1, parent_count)).transpose(0, 1).flatten(0, 1)


def _check_shape(name: str, tensor: Tensor, *expected: int) -> None:
    torch._check(
        tuple(tensor.shape) == expected,
        lambda: f"{name} must be {list(expected)}, got {list(tensor.shape)}",
    )


def _lookup(logits_BE: Tensor, child_logits_BM: Tensor, values_MH: Tensor, top_k: int) -> Tensor:
    return _cell_weights(logits_BE, child_logits_BM, top_k) @ values_MH


def _parent_logits(x_BH: Tensor, parents_EH: Tensor) -> Tensor:
    """Rounded once: in float32 a product adds up in another order for one column than for the next, and the logits of
    equal parents would be a rounding apart.
    """
    return (x_BH.double() @ parents_EH.double().T).to(x_BH.dtype)


def _cell_weights(logits_BE: Tensor, child_logits_BM: Tensor, top_k: int) -> Tensor:
    """Weights [..., M] of all cells, 0 for those of parents that are not chosen."""
    parent_count, cells = logits_BE.shape[-1], child_logits_BM.shape[-1]
    # A stable descending sort gives ties to the lower index; torch.topk does not.
    chosen_BK = torch.sort(logits_BE, dim=-1, descending=True, stable=True).indices[..., :top_k]
    parent_weights_BK = logits_BE.gather(-1, chosen_BK).softmax(-1)
    weights_BE = torch.zeros_like(logits_BE).scatter(-1, chosen_BK, parent_weights_BK)
    child_logits_BEC = child_logits_BM.unflatten(-1, (parent_count, cells // parent_count))
    child_weights_BEC = child_logits_BEC.softmax(-1) * weights_BE.unsqueeze(-1)
    return child_weights_BEC.flatten(-2)


def _epilogue(
    x_BH: Tensor,
    y_BH: Tensor,
    norm_weight_H: Tensor | None,
    norm_bias_H: Tensor | None,
    norm_eps: float,
    residual: bool,
) -> Tensor:
    if residual:
        y_BH = x_BH + y_BH
    if norm_weight_H is None:
        torch._check(norm_bias_H is None, lambda: "norm_bias needs norm_weight")
        return y_BH
    return torch.nn.functional.layer_norm(y_BH, (x_BH.shape[-1],), norm_weight_H, norm_bias_H, norm_eps)


def _check(x: Tensor, parents: Tensor, keys: Tensor, values: Tensor, top_k: int) -> None:
    hidden = x.shape[-1]
    torch._check(parents.dim() == 2 and parents.shape[1] == hidden, lambda: f"parents must be [E, {hidden}]")
    torch._check(keys.dim() == 2 and keys.shape[1] == hidden, lambda: f"keys must be [M, {hidden}]")
    torch._check(values.shape == keys.shape, lambda: "values must have the shape of keys")
    torch._check(keys.shape[0] % parents.shape[0] == 0, lambda: "M must be a multiple of E")
    torch._check(1 <= top_k <= parents.shape[0], lambda: f"top_k must be within 1 and E, got {top_k}")


def _result_shape(x: Tensor, *_: object) -> Tensor:
    return torch.empty_like(x)


def register() -> None:
    define_operator("memory_lookup", _ROWS, memory_lookup, _result_shape)
    define_operator("memory_lookup.packed", _PACKED, memory_lookup_packed, _result_shape)
    define_operator("memory_lookup.int8", _INT8, memory_lookup_int8, _result_shape)
    define_operator("memory_lookup.int4", _INT4, memory_lookup_int4, _result_shape)
