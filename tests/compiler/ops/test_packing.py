"""Packed layouts hold what was packed, and the packed lookup is the lookup."""

import pytest
import torch

from spartanc.compiler.ops.memory_lookup import (
    memory_lookup,
    memory_lookup_int4,
    memory_lookup_int8,
    memory_lookup_packed,
)
from spartanc.compiler.ops.packing import pack_int4, pack_int8, pack_logit_weights, pack_memory, pack_values


@pytest.mark.parametrize(("parents", "children", "hidden"), [(1, 1, 1), (16, 3, 24), (5, 3, 7), (8, 1, 16)])
def test_logit_weights_lie_where_the_header_says(parents, children, hidden):
    torch.manual_seed(1)
    parents_EH, keys_MH = torch.randn(parents, hidden), torch.randn(parents * children, hidden)
    packed = pack_logit_weights(parents_EH, keys_MH)
    assert packed.shape == (-(-(parents + len(keys_MH)) // 16), hidden, 16)
    assert packed.is_contiguous()
    for e in range(parents):
        assert torch.equal(packed[e // 16, :, e % 16], parents_EH[e])
        for c in range(children):
            n = parents + c * parents + e
            assert torch.equal(packed[n // 16, :, n % 16], keys_MH[e * children + c])
    assert packed.count_nonzero() == parents_EH.count_nonzero() + keys_MH.count_nonzero()  # the rest is zero


@pytest.mark.parametrize("hidden", [1, 63, 64, 65, 130])
def test_values_lie_where_the_header_says(hidden):
    torch.manual_seed(1)
    values_MH = torch.randn(6, hidden)
    packed = pack_values(values_MH)
    assert packed.shape == (-(-hidden // 64), 6, 64)
    for h in (0, hidden // 2, hidden - 1):
        assert torch.equal(packed[h // 64, :, h % 64], values_MH[:, h])
    assert packed.count_nonzero() == values_MH.count_nonzero()


@pytest.mark.parametrize("pack_keys", [True, False])
@pytest.mark.parametrize("top_k", [1, 3, 5])
@pytest.mark.parametrize("hidden", [24, 65])
def test_packed_lookup_equals_lookup_residual_and_norm(pack_keys, top_k, hidden):
    torch.manual_seed(2)
    x = torch.randn(2, 9, hidden)
    parents, keys, values = torch.randn(5, hidden), torch.randn(15, hidden), torch.randn(15, hidden)
    weight, bias = torch.randn(hidden), torch.randn(hidden)
    expected = torch.nn.functional.layer_norm(
        x + memory_lookup(x, parents, keys, values, top_k, 1.6), (hidden,), weight, bias, 1e-5
    )
    packed = pack_memory(parents, keys, values, top_k, 1.6, pack_keys=pack_keys)
    got = memory_lookup_packed(x, *packed, weight, bias, 1e-5, True)
    assert expected.abs().max() > 0.1
    torch.testing.assert_close(got, expected, rtol=0, atol=3e-5)


def test_packed_lookup_refuses_tensors_of_another_shape():
    x = torch.randn(3, 8)
    layout = torch.tensor([4, 8, 2])
    memory = pack_memory(torch.randn(4, 8), torch.randn(20, 8), torch.randn(20, 8), 2, 1.6)
    with pytest.raises(RuntimeError, match=r"logit_weights must be \[1, 8, 16\], got \[2, 8, 16\]"):
        memory_lookup_packed(x, layout, *memory[1:], None, None, 1e-5, True)
    with pytest.raises(RuntimeError, match="values must be"):
        memory_lookup_packed(x, *memory[:3], torch.randn(20, 8), None, None, 1e-5, True)


def test_packed_overload_exports_with_its_shape():
    memory = pack_memory(torch.randn(4, 8), torch.randn(8, 8), torch.randn(8, 8), 2, 1.6)

    class Lookup(torch.nn.Module):
        def forward(self, x, layout, weights, values):
            return torch.ops.spartan.memory_lookup.packed(x, layout, weights, None, values, None, None, 1e-5, False)

    arguments = (torch.randn(1, 6, 8), memory.layout, memory.logit_weights, memory.values)
    program = torch.export.export(Lookup(), arguments)
    assert [n.target for n in program.graph.nodes if n.op == "call_function"] == [
        torch.ops.spartan.memory_lookup.packed
    ]
    expected = memory_lookup_packed(arguments[0], *memory, None, None, 1e-5, False)
    torch.testing.assert_close(program.module()(*arguments), expected)


@pytest.mark.parametrize("pack_keys", [True, False])
@pytest.mark.parametrize(("parents", "children", "hidden"), [(1, 1, 1), (5, 3, 30), (16, 3, 64), (8, 5, 65)])
def test_int8_lookup_is_the_lookup_of_what_the_integers_stand_for(pack_keys, parents, children, hidden):
    torch.manual_seed(3)
    cells = parents * children
    x, parents_EH = torch.randn(2, 7, hidden), torch.randn(parents, hidden)
    keys, values = (torch.randint(-128, 128, (cells, hidden), dtype=torch.int8) for _ in range(2))
    key_scales, value_scales = torch.rand(cells) / 100, torch.rand(cells) / 100
    packed = pack_int8(parents_EH, keys, key_scales, values, value_scales, 1, 1.6, pack_keys=pack_keys)
    got = memory_lookup_int8(x, *packed, None, None, 1e-5, True)
    expected = x + memory_lookup(x, parents_EH, keys * key_scales[:, None], values * value_scales[:, None], 1, 1.6)
    torch.testing.assert_close(got, expected, rtol=0, atol=2e-5)
    stored = packed.key_cells.numel() + packed.value_cells.numel()
    if hidden == 64:
        assert stored + 4 * (packed.key_scales.numel() + packed.value_scales.numel()) <= 0.27 * 8 * cells * hidden


@pytest.mark.parametrize("pack_keys", [True, False])
@pytest.mark.parametrize(("parents", "children", "hidden"), [(1, 1, 32), (5, 3, 96), (16, 3, 64)])
def test_int4_lookup_is_the_lookup_of_what_the_nibbles_stand_for(pack_keys, parents, children, hidden):
    torch.manual_seed(4)
    cells = parents * children
    x, parents_EH = torch.randn(2, 7, hidden), torch.randn(parents, hidden)
    keys, values = (torch.randint(-8, 8, (cells, hidden), dtype=torch.int8) for _ in range(2))
    key_scales, value_scales = torch.rand(cells, hidden // 32) / 10, torch.rand(cells, hidden // 32) / 10
    packed = pack_int4(parents_EH, keys, key_scales, values, value_scales, 1, 1.6, pack_keys=pack_keys)
    got = memory_lookup_int4(x, *packed, 32, None, None, 1e-5, True)
    float_keys = keys * key_scales.repeat_interleave(32, 1)
    float_values = values * value_scales.repeat_interleave(32, 1)
    expected = x + memory_lookup(x, parents_EH, float_keys, float_values, 1, 1.6)
    torch.testing.assert_close(got, expected, rtol=0, atol=2e-5)


def test_int4_refuses_groups_that_do_not_divide_the_hidden_size():
    cells = torch.zeros(4, 48, dtype=torch.int8)
    with pytest.raises(ValueError, match="groups of 32 do not divide the hidden size 48"):
        pack_int4(torch.zeros(2, 48), cells, torch.ones(4, 1), cells, torch.ones(4, 1), 1, 1.6)
