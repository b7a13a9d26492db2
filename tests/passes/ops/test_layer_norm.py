"""spartan::add_layer_norm in eager: its definition, shape function and refusals."""

from __future__ import annotations

import pytest
import torch

from spartanc.passes.ops.layer_norm import add_layer_norm

OPERATOR = torch.ops.spartan.add_layer_norm.default


@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_it_is_the_layer_norm_of_the_sum(residual, bias):
    torch.manual_seed(0)
    x, r, weight, b = torch.randn(2, 5, 7), torch.randn(2, 5, 7), torch.randn(7), torch.randn(7)
    total = (x + r if residual else x).double()
    centred = total - total.mean(-1, keepdim=True)
    expected = centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt() * weight + (b if bias else 0)
    got = OPERATOR(x, r if residual else None, weight, b if bias else None, 1e-5)
    torch.testing.assert_close(got, expected.float(), rtol=1e-5, atol=1e-5)


def test_schema_shape_and_out_variant_agree():
    arguments = (torch.randn(3, 4), torch.randn(3, 4), torch.randn(4), None, 1e-5)
    torch.library.opcheck(OPERATOR, arguments, test_utils=("test_schema", "test_faketensor"))
    out = torch.empty(3, 4)
    torch.ops.spartan.add_layer_norm.out(*arguments, out=out)
    torch.testing.assert_close(out, add_layer_norm(*arguments))


def test_a_residual_of_another_shape_is_refused():
    with pytest.raises(RuntimeError, match=r"residual must be \[3, 4\]"):
        add_layer_norm(torch.randn(3, 4), torch.randn(4), torch.randn(4), None, 1e-5)
