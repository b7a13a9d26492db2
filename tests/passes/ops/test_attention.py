"""spartan::attention in eager: its definition, shape function and refusals."""

from __future__ import annotations

import pytest
import torch

from spartanc.passes.ops.attention import attention

OPERATOR = torch.ops.spartan.attention.default
HALF = (
    torch.ops.spartan.attention_half.default
)  # the reference is the same: what may be rounded is the kernels' concern


@pytest.mark.parametrize("operator", [OPERATOR, HALF])
@pytest.mark.parametrize("own_query", [True, False])
@pytest.mark.parametrize("masked", [True, False])
def test_it_is_the_attention_of_torch(operator, own_query, masked):
    torch.manual_seed(0)
    q, k, v = torch.randn(1, 2 if own_query else 5, 6), torch.randn(1, 5, 6), torch.randn(1, 5, 6)
    mask = torch.tensor([[[0.0, 0, -3.4e38, 0.5, 0]]]) if masked else None
    heads = [each.double().view(1, -1, 2, 3).transpose(1, 2) for each in (q, k, v)]
    additive = None if mask is None else mask.double().view(1, 1, 1, 5)
    expected = torch.nn.functional.scaled_dot_product_attention(*heads, attn_mask=additive, scale=1.0)
    expected = expected.transpose(1, 2).reshape(1, -1, 6).float()
    packed = torch.cat([k, v] if own_query else [q, k, v], -1)
    got = operator(q if own_query else None, packed, mask, 2)
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("operator", "out_variant"),
    [(OPERATOR, torch.ops.spartan.attention.out), (HALF, torch.ops.spartan.attention_half.out)],
)
@pytest.mark.parametrize("own_query", [True, False])
def test_schema_shape_and_out_variant_agree(operator, out_variant, own_query):
    arguments = (torch.randn(1, 2, 8), torch.randn(1, 5, 16)) if own_query else (None, torch.randn(1, 5, 24))
    arguments += (torch.randn(1, 1, 5), 4)
    torch.library.opcheck(operator, arguments, test_utils=("test_schema", "test_faketensor"))
    out = torch.empty(1, 2 if own_query else 5, 8)
    out_variant(*arguments, out=out)
    torch.testing.assert_close(out, attention(*arguments))


def test_wrong_shapes_are_refused():
    with pytest.raises(RuntimeError, match=r"packed must be \[1, L, 3 \* H\] of 4 whole heads"):
        attention(None, torch.randn(1, 5, 20), None, 4)
    with pytest.raises(RuntimeError, match=r"q must be \[1, Q, 8\]"):
        attention(torch.randn(1, 2, 12), torch.randn(1, 5, 16), None, 4)
