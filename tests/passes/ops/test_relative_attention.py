"""spartan::attention.relative in eager: its definition number by number, shape function and refusals."""

from __future__ import annotations

import math

import pytest
import torch

from spartanc.passes.ops.relative_attention import distance_table, fewest_columns, relative_attention

OPERATOR = torch.ops.spartan.attention.relative
HEADS, SIZE, LENGTH, REACH = 2, 3, 5, 7
HIDDEN = HEADS * SIZE


def tables(which: str):
    rows = [torch.randn(2 * REACH - 1, HIDDEN, generator=torch.Generator().manual_seed(seed)) for seed in (1, 2)]
    return [each if name in which else None for each, name in zip(rows, ("keys", "queries"), strict=True)]


def one_by_one(q, k, v, kept, to_keys, to_queries):
    """[Q, H] in float64 from lists: scores, softmax and sum written out, a masked query's weights all the same."""
    result = torch.zeros(len(q), HIDDEN, dtype=torch.float64)
    for head in range(HEADS):
        of = slice(head * SIZE, (head + 1) * SIZE)
        for i in range(len(q)):
            scores = []
            for j in range(len(k)):
                score = float(q[i, of].double() @ k[j, of].double())
                if to_keys is not None:
                    score += float(q[i, of].double() @ to_keys[REACH - 1 + j - i, of].double())
                if to_queries is not None:
                    score += float(k[j, of].double() @ to_queries[REACH - 1 + i - j, of].double())
                scores.append((score if kept[j] else -math.inf) if kept[i] else 0.0)
            weights = torch.tensor(scores, dtype=torch.float64).softmax(0)
            result[i, of] = weights @ v[:, of].double()
    return result


@pytest.mark.parametrize("which", ["keys and queries", "keys", "queries", "none"])
@pytest.mark.parametrize("own_query", [True, False])
@pytest.mark.parametrize("kept", [[1, 1, 1, 1, 1], [1, 0, 1, 1, 0], [0, 1, 1, 0, 1]])
def test_every_score_adds_what_its_distance_says(which, own_query, kept):
    torch.manual_seed(0)
    q, k, v = (torch.randn(LENGTH, HIDDEN) for _ in range(3))
    q = q[:1] if own_query else q
    mask = torch.where(torch.tensor(kept).bool(), 0.0, torch.finfo(torch.float32).min).view(1, 1, -1)
    rows = tables(which)
    made = [None if each is None else distance_table(each) for each in rows]
    packed = torch.cat([k, v] if own_query else [q, k, v], -1)[None]
    got = OPERATOR(q[None] if own_query else None, packed, mask, HEADS, *made, REACH)
    torch.testing.assert_close(got[0].double(), one_by_one(q, k, v, kept, *rows), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("own_query", [True, False])
def test_schema_shape_and_out_variant_agree(own_query):
    q = torch.randn(1, 2, HIDDEN) if own_query else None
    packed, mask = torch.randn(1, LENGTH, (2 if own_query else 3) * HIDDEN), torch.zeros(1, 1, LENGTH)
    arguments = (q, packed, mask, HEADS, distance_table(tables("keys")[0]), None, REACH)
    torch.library.opcheck(OPERATOR, arguments, test_utils=("test_schema", "test_faketensor"))
    out = torch.empty(1, 2 if own_query else LENGTH, HIDDEN)
    torch.ops.spartan.attention.relative_out(*arguments, out=out)
    torch.testing.assert_close(out, relative_attention(*arguments))


@pytest.mark.parametrize("reach", [1, 2, 9, 30, 64, 128, 512])
def test_a_table_holds_what_kernels_read_in_an_odd_number_of_cache_lines(reach):
    rows = torch.randn(2 * reach - 1, 4)
    table = distance_table(rows)
    assert torch.equal(table[:, : 2 * reach - 1].T, rows)
    assert table.shape[1] >= fewest_columns(reach)
    assert table.shape[1] % 32 == 16
    assert table.is_contiguous()


def test_wrong_shapes_are_refused():
    packed, table = torch.randn(1, 5, 3 * HIDDEN), distance_table(tables("keys")[0])
    with pytest.raises(RuntimeError, match="reach must be at least L"):
        relative_attention(None, packed, None, HEADS, table, None, 4)
    with pytest.raises(RuntimeError, match=r"tables must be \[6, S\] with S at least 29"):
        relative_attention(None, packed, None, HEADS, table[:, :20], None, REACH)
    with pytest.raises(RuntimeError, match=r"packed must be \[1, L, 3 \* H\] of 4 whole heads"):
        relative_attention(None, packed, None, 4, table, None, REACH)
