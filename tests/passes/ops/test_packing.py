"""Packed layouts hold what was packed, and the packed lookup is the lookup."""

import pytest
import torch

from spartanc.passes.ops.memory_lookup import (
    memory_lookup,
    memory_lookup_int4,
    memory_lookup_int8,
    memory_lookup_packed,
)
from spartanc.passes.ops.packing import pack_int4, pack_int8, pack_logit_weights, pack_memory, pack_values


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


def integers_and_scales(rows):
    """By the element: what a quantiser to 127 steps gives; zeros for a row of zeros."""
    largest = rows.abs().amax(-1, keepdim=True)
    step = largest / 127
    return torch.where(largest > 0, torch.round(rows * (127 / largest)), 0.0), step


def lookup_of_integers(x, parents, keys, key_scales, values, value_scales, top_k, temperature):
    """The lookup of what the integers stand for, position by position in float64, x and weights rounded as stated.

    Scales [M, G].
    """
    (positions, hidden), (cells, groups) = x.shape, key_scales.shape
    children, width = cells // len(parents), hidden // groups
    x_rounded = torch.mul(*integers_and_scales(x)).double()
    float_keys = keys.double() * key_scales.double().repeat_interleave(width, 1)
    out = torch.zeros(positions, hidden, dtype=torch.float64)
    for p in range(positions):
        logits = parents @ x[p]
        weights = torch.zeros(cells, dtype=torch.float64)
        chosen = logits.topk(top_k).indices
        for e, a in zip(chosen.tolist(), logits[chosen].double().softmax(0), strict=True):
            cell = slice(e * children, (e + 1) * children)
            weights[cell] = a * (float_keys[cell] @ x_rounded[p] / temperature).softmax(0)
        for g in range(groups):
            steps, step = integers_and_scales(weights * value_scales[:, g].double())
            part = slice(g * width, (g + 1) * width)
            out[p, part] = step * (steps @ values[:, part].double())
    return out


@pytest.mark.parametrize("pack_keys", [True, False])
@pytest.mark.parametrize(("parents", "children", "hidden"), [(1, 1, 1), (5, 3, 30), (16, 3, 64), (8, 5, 65)])
def test_int8_lookup_is_the_lookup_of_what_the_integers_stand_for(pack_keys, parents, children, hidden):
    torch.manual_seed(3)
    cells, top_k = parents * children, min(parents, 3)
    x, parents_EH = torch.randn(2, 7, hidden), torch.randn(parents, hidden)
    keys, values = (torch.randint(-128, 128, (cells, hidden), dtype=torch.int8) for _ in range(2))
    key_scales, value_scales = torch.rand(cells, 1) / 100, torch.rand(cells, 1) / 100
    packed = pack_int8(parents_EH, keys, key_scales, values, value_scales, top_k, 1.6, pack_keys=pack_keys)
    got = memory_lookup_int8(x, *packed, None, None, 1e-5, True)
    memory = (parents_EH, keys, key_scales, values, value_scales, top_k, 1.6)
    expected = x.double() + torch.stack([lookup_of_integers(rows, *memory) for rows in x])
    # Rounding in float32 may put a weight on the other side of a half: one step of one weight, or two.
    assert ((got - expected).abs() < 2e-5).double().mean() > 0.98
    torch.testing.assert_close(got.double(), expected, rtol=0, atol=0.03)


@pytest.mark.parametrize("pack_keys", [True, False])
@pytest.mark.parametrize(("parents", "children", "hidden"), [(1, 1, 32), (5, 3, 96), (16, 3, 64)])
def test_int4_lookup_is_the_lookup_of_what_the_nibbles_stand_for(pack_keys, parents, children, hidden):
    torch.manual_seed(4)
    cells, top_k = parents * children, min(parents, 3)
    x, parents_EH = torch.randn(2, 7, hidden), torch.randn(parents, hidden)
    keys, values = (torch.randint(-8, 8, (cells, hidden), dtype=torch.int8) for _ in range(2))
    key_scales, value_scales = torch.rand(cells, hidden // 32) / 10, torch.rand(cells, hidden // 32) / 10
    packed = pack_int4(parents_EH, keys, key_scales, values, value_scales, top_k, 1.6, pack_keys=pack_keys)
    got = memory_lookup_int4(x, *packed, 32, None, None, 1e-5, True)
    memory = (parents_EH, keys, key_scales, values, value_scales, top_k, 1.6)
    expected = x.double() + torch.stack([lookup_of_integers(rows, *memory) for rows in x])
    assert ((got - expected).abs() < 2e-5).double().mean() > 0.98
    torch.testing.assert_close(got.double(), expected, rtol=0, atol=0.03)


@pytest.mark.parametrize("pack_keys", [True, False])
@pytest.mark.parametrize("hidden", [384, 768])
@pytest.mark.parametrize(("pack", "groups", "most"), [(pack_int8, 1, 0.27), (pack_int4, None, 0.16)])
def test_keys_and_values_take_at_most_their_share_of_fp32(pack, groups, most, hidden, pack_keys):
    cells = torch.zeros(48, hidden, dtype=torch.int8)
    scales = torch.ones(48, groups or hidden // 32)
    packed = pack(torch.zeros(16, hidden), cells, scales, cells, scales, 8, 1.6, pack_keys=pack_keys)
    stored = sum(each.nbytes for each in packed[2:])
    assert stored <= most * 2 * 4 * 48 * hidden


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_row_that_is_not_finite_stays_alone(bad):
    torch.manual_seed(5)
    cells = torch.randint(-128, 128, (12, 64), dtype=torch.int8)
    packed = pack_int8(torch.randn(4, 64), cells, torch.ones(12, 1), cells, torch.ones(12, 1), 2, 1.6)
    x = torch.randn(3, 64)
    clean = memory_lookup_int8(x, *packed, None, None, 1e-5, True)
    x[1, 5] = bad
    dirty = memory_lookup_int8(x, *packed, None, None, 1e-5, True)
    assert dirty[1].isnan().all()
    assert torch.equal(dirty[[0, 2]], clean[[0, 2]])


def test_int4_refuses_groups_that_do_not_divide_the_hidden_size():
    cells = torch.zeros(4, 48, dtype=torch.int8)
    with pytest.raises(ValueError, match="groups of 32 do not divide the hidden size 48"):
        pack_int4(torch.zeros(2, 48), cells, torch.ones(4, 1), cells, torch.ones(4, 1), 1, 1.6)
