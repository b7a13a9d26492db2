"""Packed layouts hold what was packed, and the packed lookup is the lookup."""

import pytest
import torch

from spartanc.compiler.ops.memory_lookup import memory_lookup, memory_lookup_packed
from spartanc.compiler.ops.packing import pack_logit_weights, unpack_logit_weights


@pytest.mark.parametrize(("parents", "cells", "hidden"), [(1, 1, 1), (16, 48, 24), (5, 15, 7), (8, 8, 16)])
def test_logit_weights_survive_packing(parents, cells, hidden):
    torch.manual_seed(1)
    parents_EH, keys_MH = torch.randn(parents, hidden), torch.randn(cells, hidden)
    packed = pack_logit_weights(parents_EH, keys_MH)
    assert packed.shape == (-(-(parents + cells) // 16), hidden, 16)
    assert packed.is_contiguous()
    rows = torch.cat([parents_EH, keys_MH])
    assert torch.equal(unpack_logit_weights(packed, parents + cells), rows)
    n, h = parents + cells - 1, hidden - 1
    assert packed[n // 16, h, n % 16] == rows[n, h]
    assert packed.count_nonzero() == rows.count_nonzero()  # the rest is zero


@pytest.mark.parametrize("keys_packed", [True, False])
@pytest.mark.parametrize("top_k", [1, 3, 5])
def test_packed_lookup_equals_lookup_residual_and_norm(keys_packed, top_k):
    torch.manual_seed(2)
    x = torch.randn(2, 9, 24)
    parents, keys, values = torch.randn(5, 24), torch.randn(15, 24), torch.randn(15, 24)
    weight, bias = torch.randn(24), torch.randn(24)
    expected = torch.nn.functional.layer_norm(
        x + memory_lookup(x, parents, keys, values, top_k, 1.6), (24,), weight, bias, 1e-5
    )
    layout = torch.tensor([5, 15, top_k])
    packed = pack_logit_weights(parents, keys / 1.6 if keys_packed else None)
    got = memory_lookup_packed(x, layout, packed, None if keys_packed else keys / 1.6, values, weight, bias, 1e-5, True)
    assert expected.abs().max() > 0.1
    torch.testing.assert_close(got, expected, rtol=0, atol=2e-5)


def test_packed_lookup_refuses_weights_of_another_shape():
    x = torch.randn(3, 8)
    packed = pack_logit_weights(torch.randn(4, 8), torch.randn(20, 8))
    with pytest.raises(RuntimeError, match="logit_weights must be"):
        memory_lookup_packed(x, torch.tensor([4, 8, 2]), packed, None, torch.randn(8, 8), None, None, 1e-5, True)


def test_packed_overload_exports_with_its_shape():
    packed = pack_logit_weights(torch.randn(4, 8), torch.randn(8, 8))

    class Lookup(torch.nn.Module):
        def forward(self, x, layout, weights, values):
            return torch.ops.spartan.memory_lookup.packed(x, layout, weights, None, values, None, None, 1e-5, False)

    arguments = (torch.randn(1, 6, 8), torch.tensor([4, 8, 2]), packed, torch.randn(8, 8))
    program = torch.export.export(Lookup(), arguments)
    assert [n.target for n in program.graph.nodes if n.op == "call_function"] == [
        torch.ops.spartan.memory_lookup.packed
    ]
    torch.testing.assert_close(
        program.module()(*arguments),
        memory_lookup_packed(*arguments[:3], None, arguments[3], None, None, 1e-5, False),
    )
