"""spartan::window_attention in eager: the attention of torch under a square mask, shape function and refusals."""

from __future__ import annotations

import pytest
import torch

from spartanc.passes.ops.attention import attention
from spartanc.passes.ops.window_attention import window_attention

OPERATOR = torch.ops.spartan.window_attention.default
HALF = torch.ops.spartan.window_attention_half.default  # the reference is the same


@pytest.mark.parametrize("operator", [OPERATOR, HALF])
@pytest.mark.parametrize("own_query", [True, False])
@pytest.mark.parametrize("reach", [0, 1, 2, 4, 9])
def test_it_is_the_attention_of_torch_under_a_square_mask(operator, own_query, reach):
    torch.manual_seed(0)
    q, k, v = torch.randn(1, 2 if own_query else 5, 6), torch.randn(1, 5, 6), torch.randn(1, 5, 6)
    mask_L = torch.tensor([0.0, 0, 0, 0, -3.4e38])
    near = (torch.arange(q.shape[1])[:, None] - torch.arange(5)).abs() <= reach
    square = torch.where(near, mask_L, float("-inf")).double()
    heads = [each.double().view(1, -1, 2, 3).transpose(1, 2) for each in (q, k, v)]
    expected = torch.nn.functional.scaled_dot_product_attention(*heads, attn_mask=square, scale=1.0)
    expected = expected.transpose(1, 2).reshape(1, -1, 6).float()
    packed = torch.cat([k, v] if own_query else [q, k, v], -1)
    got = operator(q if own_query else None, packed, mask_L, 2, reach)
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)


def test_a_window_that_holds_the_text_is_none():
    packed = torch.randn(1, 7, 24)
    assert torch.equal(window_attention(None, packed, None, 2, 6), attention(None, packed, None, 2))


@pytest.mark.parametrize("name", ["window_attention", "window_attention_half"])
@pytest.mark.parametrize("own_query", [True, False])
def test_schema_shape_and_out_variant_agree(name, own_query):
    operator = getattr(torch.ops.spartan, name)
    arguments = (torch.randn(1, 2, 8), torch.randn(1, 5, 16)) if own_query else (None, torch.randn(1, 5, 24))
    arguments += (torch.randn(1, 1, 5), 4, 1)
    torch.library.opcheck(operator.default, arguments, test_utils=("test_schema", "test_faketensor"))
    out = torch.empty(1, 2 if own_query else 5, 8)
    operator.out(*arguments, out=out)
    torch.testing.assert_close(out, window_attention(*arguments))


def test_wrong_arguments_are_refused():
    with pytest.raises(RuntimeError, match="reach must not be negative, got -1"):
        window_attention(None, torch.randn(1, 5, 24), None, 4, -1)
    with pytest.raises(RuntimeError, match="Q must be at most L, got 6 and 5"):
        window_attention(torch.randn(1, 6, 8), torch.randn(1, 5, 16), None, 4, 1)
