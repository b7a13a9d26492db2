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

Legend: B any leading dimensions, H hidden size, E parents, M cells in all (parent-major), C cells a parent,
K top_k.
The eager reference below is the definition: kernels are tested against it, and against float64.
"""

from __future__ import annotations

import torch
from torch import Tensor

NAMESPACE = "spartan"
BLOCK_COLUMNS = 16  # columns of one packed block of logit weights; the kernels' kBlockColumns
INT4_GROUP = 32  # hidden that share one scale of int4 cells; the kernels' kInt4Group
VALUE_COLUMNS = 64  # columns of one packed block of values; the kernels' kValueColumns
_library = torch.library.Library(NAMESPACE, "FRAGMENT")

_ROWS = "Tensor x, Tensor parents, Tensor keys, Tensor values, int top_k, float temperature"
_EPILOGUE = "Tensor? norm_weight, Tensor? norm_bias, float norm_eps, bool residual"
_PACKED = f"Tensor x, Tensor layout, Tensor logit_weights, Tensor? keys, Tensor values, {_EPILOGUE}"
_CELLS = "Tensor key_cells, Tensor key_scales, Tensor value_cells, Tensor value_scales"
_QUANTIZED = f"Tensor x, Tensor layout, Tensor logit_weights, {_CELLS}"
# ExecuTorch finds an overload's out variant by its arguments, not by its name: no two overloads may have the same.
_INT8 = f"{_QUANTIZED}, {_EPILOGUE}"
_INT4 = f"{_QUANTIZED}, int group_size, {_EPILOGUE}"
_library.define(f"memory_lookup({_ROWS}) -> Tensor")
_library.define(f"memory_lookup.out({_ROWS}, *, Tensor(a!) out) -> Tensor(a!)")
_library.define(f"memory_lookup.packed({_PACKED}) -> Tensor")
_library.define(f"memory_lookup.packed_out({_PACKED}, *, Tensor(a!) out) -> Tensor(a!)")
_library.define(f"memory_lookup.int8({_INT8}) -> Tensor")
_library.define(f"memory_lookup.int8_out({_INT8}, *, Tensor(a!) out) -> Tensor(a!)")
_library.define(f"memory_lookup.int4({_INT4}) -> Tensor")
_library.define(f"memory_lookup.int4_out({_INT4}, *, Tensor(a!) out) -> Tensor(a!)")


def memory_lookup(
    x_BH: Tensor, parents_EH: Tensor, keys_MH: Tensor, values_MH: Tensor, top_k: int, temperature: float
) -> Tensor:
    """What the memory adds to `x_BH` [..., H]; result of the same shape and type.

    parents_EH [E, H]; keys_MH and values_MH [M, H], the C = M/E cells of parent e at rows e*C to e*C + C - 1.
    Raises RuntimeError where shapes disagree, M is not a multiple of E, or top_k is not within 1 to E.
    """
    _check(x_BH, parents_EH, keys_MH, values_MH, top_k)
    return _lookup(x_BH @ parents_EH.T, x_BH @ keys_MH.T / temperature, values_MH, top_k)


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
    y_BH = _lookup(x_BH @ parents_EH.T, x_BH @ keys_MH.T, values_MH, top_k)
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

    Packed: key_cells int8 [ceil(M / 16), ceil(H / 4), 16, 4], key_scales [ceil(M / 16) * 16], value_cells int8
    [ceil(H / 64), M, 64], value_scales [M]. Rows: cells int8 [M, H], scales [M]. The temperature is in key_scales.
    """
    parent_count, cells, top_k = layout.tolist()
    hidden = x_BH.shape[-1]
    torch._check(cells % parent_count == 0, lambda: "M must be a multiple of E")
    if key_cells.dim() == 4:
        blocks = -(-cells // BLOCK_COLUMNS)
        _check_shape("key_cells", key_cells, blocks, -(-hidden // 4), BLOCK_COLUMNS, 4)
        _check_shape("key_scales", key_scales, blocks * BLOCK_COLUMNS)
        _check_shape("value_cells", value_cells, -(-hidden // VALUE_COLUMNS), cells, VALUE_COLUMNS)
        keys_NH = key_cells.transpose(1, 2).reshape(blocks * BLOCK_COLUMNS, -1)[:, :hidden]
        keys_MH = _by_cell((keys_NH * key_scales.unsqueeze(1))[:cells], parent_count)
        cells_MH = value_cells.transpose(0, 1).reshape(cells, -1)[:, :hidden]
    else:
        _check_shape("key_cells", key_cells, cells, hidden)
        _check_shape("key_scales", key_scales, cells)
        keys_MH, cells_MH = key_cells * key_scales.unsqueeze(1), value_cells
    _check_shape("value_scales", value_scales, cells)
    values_MH = cells_MH * value_scales.unsqueeze(1)
    parents_EH = _parents(logit_weights, parent_count, hidden)
    _check(x_BH, parents_EH, keys_MH, values_MH, top_k)
    y_BH = _lookup(x_BH @ parents_EH.T, x_BH @ keys_MH.T, values_MH, top_k)
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

    H is a multiple of group_size, which is 32. value_cells uint8 [M, H / 2], value_scales [M, H / 32]. Packed:
    key_cells uint8 [ceil(M / 16), H / 8, 16, 4], key_scales [ceil(M / 16), H / 32, 16]. Rows: keys as values.
    """
    parent_count, cells, top_k = layout.tolist()
    hidden = x_BH.shape[-1]
    torch._check(group_size == INT4_GROUP, lambda: f"group_size must be {INT4_GROUP}, got {group_size}")
    torch._check(hidden % INT4_GROUP == 0, lambda: f"int4 needs H to be a multiple of {INT4_GROUP}, got {hidden}")
    torch._check(cells % parent_count == 0, lambda: "M must be a multiple of E")
    groups = hidden // INT4_GROUP
    if key_cells.dim() == 4:
        blocks = -(-cells // BLOCK_COLUMNS)
        _check_shape("key_cells", key_cells, blocks, hidden // 8, BLOCK_COLUMNS, 4)
        _check_shape("key_scales", key_scales, blocks, groups, BLOCK_COLUMNS)
        nibbles = torch.cat([key_cells & 15, key_cells >> 4], dim=-1).to(torch.int8) - 8
        keys_NH = nibbles.transpose(1, 2).reshape(blocks * BLOCK_COLUMNS, hidden)
        scales_NG = key_scales.transpose(1, 2).reshape(-1, groups)
        keys_MH = _by_cell((keys_NH * scales_NG.repeat_interleave(INT4_GROUP, 1))[:cells], parent_count)
    else:
        keys_MH = _int4_rows("key", key_cells, key_scales, cells, hidden)
    values_MH = _int4_rows("value", value_cells, value_scales, cells, hidden)
    parents_EH = _parents(logit_weights, parent_count, hidden)
    _check(x_BH, parents_EH, keys_MH, values_MH, top_k)
    y_BH = _lookup(x_BH @ parents_EH.T, x_BH @ keys_MH.T, values_MH, top_k)
    return _epilogue(x_BH, y_BH, norm_weight_H, norm_bias_H, norm_eps, residual)


def _parents(logit_weights: Tensor, parent_count: int, hidden: int) -> Tensor:
    _check_shape("logit_weights", logit_weights, -(-parent_count // BLOCK_COLUMNS), hidden, BLOCK_COLUMNS)
    return logit_weights.transpose(1, 2).reshape(-1, hidden)[:parent_count]


def _by_cell(rows_NH: Tensor, parent_count: int) -> Tensor:
    """Rows in the order of packed columns (c*E + e) in the order of cells (e*C + c)."""
    return rows_NH.unflatten(0, (-1, parent_count)).transpose(0, 1).flatten(0, 1)


def _int4_rows(name: str, rows: Tensor, scales: Tensor, cells: int, hidden: int) -> Tensor:
    _check_shape(f"{name}_cells", rows, cells, hidden // 2)
    _check_shape(f"{name}_scales", scales, cells, hidden // INT4_GROUP)
    groups = rows.unflatten(1, (-1, INT4_GROUP // 2))
    nibbles = torch.cat([groups & 15, groups >> 4], dim=-1).to(torch.int8) - 8
    return (nibbles * scales.unsqueeze(2)).flatten(1)


def _check_shape(name: str, tensor: Tensor, *expected: int) -> None:
    torch._check(
        tuple(tensor.shape) == expected,
        lambda: f"{name} must be {list(expected)}, got {list(tensor.shape)}",
    )


def _lookup(logits_BE: Tensor, child_logits_BM: Tensor, values_MH: Tensor, top_k: int) -> Tensor:
    parent_count, cells = logits_BE.shape[-1], child_logits_BM.shape[-1]
    # A stable descending sort gives ties to the lower index; torch.topk does not.
    chosen_BK = torch.sort(logits_BE, dim=-1, descending=True, stable=True).indices[..., :top_k]
    parent_weights_BK = logits_BE.gather(-1, chosen_BK).softmax(-1)
    weights_BE = torch.zeros_like(logits_BE).scatter(-1, chosen_BK, parent_weights_BK)
    child_logits_BEC = child_logits_BM.unflatten(-1, (parent_count, cells // parent_count))
    child_weights_BEC = child_logits_BEC.softmax(-1) * weights_BE.unsqueeze(-1)
    return child_weights_BEC.flatten(-2) @ values_MH


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


def _register(overload: str, function) -> None:
    """`function` as the eager kernel of an overload and of its `.out`; the result has x's shape and type."""
    name = f"memory_lookup.{overload}" if overload else "memory_lookup"
    out_name = f"memory_lookup.{overload}_out" if overload else "memory_lookup.out"

    def write_to_out(*arguments, out):
        return out.copy_(function(*arguments))

    def result_shape(x, *arguments):
        return torch.empty_like(x)

    _library.impl(name, function, "CompositeExplicitAutograd")
    _library.impl(out_name, write_to_out, "CompositeExplicitAutograd")
    torch.library.register_fake(f"{NAMESPACE}::{name}", result_shape, lib=_library)


_register("", memory_lookup)
_register("packed", memory_lookup_packed)
_register("int8", memory_lookup_int8)
_register("int4", memory_lookup_int4)
