"""`spartan::attention.relative`: `spartan::attention` whose scores add what distances say (DeBERTa).

    s_hij = q_hi · k_hj + q_hi · to_keys_h[N - 1 + j - i] + k_hj · to_queries_h[N - 1 + i - j] + mask_j

q, packed and mask as in `spartan::attention`; queries are the first of the positions. Both tables are [H, S] or absent,
one column a distance, N = `reach` at least L and S at least 2 N + 15: `distance_table` makes them. A query that is
masked itself looks at all positions alike, as in DeBERTa, whose mask is a square.

Stock operators would multiply with every row of the table, for texts of every length, and gather twice a square of
scores; the kernel reads the distances of a block of queries as columns side by side.
The eager reference below is the definition; kernels are tested against float64.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from spartanc.passes.ops.attention import result_shape, split_heads
from spartanc.passes.ops.define import define_operator

_ARGUMENTS = "Tensor? q, Tensor packed, Tensor? mask, int heads, Tensor? to_keys, Tensor? to_queries, int reach"


def relative_attention(
    q: Tensor | None,
    packed: Tensor,
    mask: Tensor | None,
    heads: int,
    to_keys: Tensor | None,
    to_queries: Tensor | None,
    reach: int,
) -> Tensor:
    """Attention [1, Q, H]; raises RuntimeError where shapes disagree."""
    q_hid, k_hjd, v_hjd = split_heads(q, packed, heads)
    queries, positions, hidden = q_hid.shape[1], k_hjd.shape[1], k_hjd.shape[0] * k_hjd.shape[2]
    torch._check(
        queries <= positions <= reach,
        lambda: f"reach must be at least L, and L at least Q: got {reach}, {positions} and {queries}",
    )
    for table in (to_keys, to_queries):
        torch._check(
            table is None or (table.shape[0] == hidden and table.shape[1] >= fewest_columns(reach)),
            lambda: f"tables must be [{hidden}, S] with S at least {fewest_columns(reach)}",
        )
    distance_ij = torch.arange(queries)[:, None] - torch.arange(positions)[None, :]
    scores_hij = q_hid @ k_hjd.transpose(1, 2)
    if to_keys is not None:
        said_his = q_hid @ to_keys.unflatten(0, (heads, -1))
        scores_hij = scores_hij + said_his.gather(2, (reach - 1 - distance_ij).expand(heads, -1, -1))
    if to_queries is not None:
        said_hjs = k_hjd @ to_queries.unflatten(0, (heads, -1))
        scores_hij = scores_hij + said_hjs.gather(2, (reach - 1 + distance_ij.T).expand(heads, -1, -1)).transpose(1, 2)
    if mask is not None:
        mask_L = mask.reshape(-1)
        scores_hij = torch.where(mask_L[:queries, None] == 0, scores_hij + mask_L, 0.0)
    return (scores_hij.softmax(-1) @ v_hjd).transpose(0, 1).flatten(1).unsqueeze(0)


def fewest_columns(reach: int) -> int:
    """Of a table: kernels read past the last distance, and drop what they get."""
    return 2 * reach + 15


def distance_table(rows_NH: Tensor) -> Tensor:
    """[H, S] from rows [2 N - 1, H], one for every distance from 1 - N to N - 1 in that order."""
    distances = len(rows_NH)
    lines = (fewest_columns((distances + 1) // 2) + 15) // 16
    lines += 1 - lines % 2  # odd, of 64 bytes: rows a power of two apart would drive each other out of the cache
    return pad(rows_NH.T, (0, 16 * lines - distances)).contiguous()


def _shape(q, packed, mask, heads, to_keys, to_queries, reach):
    return result_shape(q, packed, mask, heads)


def register() -> None:
    define_operator("attention.relative", _ARGUMENTS, relative_attention, _shape)
