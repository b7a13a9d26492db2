"""Training's arithmetic: what the operators give, gradients straight through, nothing left behind."""

import pytest
import torch
from torch import nn

from spartanc.errors import UsageError
from spartanc.models.arithmetic.catalogue import ARITHMETICS, find_arithmetic
from spartanc.models.arithmetic.int8 import FrozenWeights, _integer_products_are_exact, freeze
from spartanc.models.arithmetic.rounding import rounded_cells
from spartanc.models.backbone import build_classifier, load_backbone
from spartanc.models.faster import faster
from spartanc.models.memory import Memory, SpartanConfig
from spartanc.models.objective import TrainingModule, parameter_groups
from spartanc.models.settings import TrainRequest, TrainSettings
from spartanc.models.training import train
from spartanc.passes.ops.linear_int8 import pack_weights, rounded_inputs
from spartanc.passes.ops.packing import pack_int4, pack_int8
from spartanc.passes.quantize_embeddings import pack_pairs, quantize_groups, quantize_rows
from spartanc.passes.quantize_linears import quantize_weights
from spartanc.passes.quantize_memories import quantize_cells, rounded_to_half
from spartanc.passes.weight_grids import INT4 as GRID
from spartanc.runtime_py.task_types.classification import CLASSIFICATION
from support.encoders import sentiment, write_encoder, write_examples

INT8, INT4 = find_arithmetic("int8"), find_arithmetic("int4")


def of_rows_scale(got, expected):
    """The largest difference over each row's largest value."""
    difference = (got - expected).abs().amax(-1) / expected.abs().amax(-1)
    return difference.max().item()


def frozen(inputs, outputs, bias=True):
    part = nn.Linear(inputs, outputs, bias=bias)
    return part.requires_grad_(False)


@pytest.mark.parametrize("shape", [(1, 1, 1), (5, 3, 7), (2, 9, 384), (4, 31, 1536)])
@pytest.mark.parametrize("bias", [True, False])
def test_a_frozen_linear_is_the_kernels_to_a_millionth_of_the_rows_scale(shape, bias):
    part = frozen(shape[-1], 37, bias)
    x = torch.randn(shape) * torch.randn(*shape[:-1], 1).exp()
    expected = torch.ops.spartan.linear_int8(x, *pack_weights(*quantize_weights(part.weight)), part.bias, False)
    assert of_rows_scale(INT8.linear(part, "fp32")(x), expected) <= 1e-6


def test_rows_that_are_not_finite_or_zero_are_answered_as_the_kernels_do():
    part = frozen(8, 5)
    x = torch.randn(4, 8)
    x[0, 3], x[1, 0], x[2] = float("nan"), float("inf"), 0
    expected = torch.ops.spartan.linear_int8(x, *pack_weights(*quantize_weights(part.weight)), part.bias, False)
    got = INT8.linear(part, "fp32")(x)
    assert got[:2].isnan().all() and expected[:2].isnan().all()
    assert torch.allclose(got[2:], expected[2:], atol=1e-6)


def test_a_trained_linear_is_the_kernels_and_its_weight_gets_a_gradient():
    part = nn.Linear(24, 6)
    x = torch.randn(3, 24, requires_grad=True)
    got = INT8.linear(part, "fp32")(x)
    packed = pack_weights(*quantize_weights(part.weight))
    expected = torch.ops.spartan.linear_int8(x.detach(), *packed, part.bias.detach(), False)
    assert of_rows_scale(got.detach(), expected) <= 1e-6
    got.sum().backward()
    assert part.weight.grad.abs().sum() > 0 and x.grad.abs().sum() > 0


def test_integer_products_are_those_of_this_processor_only_where_they_are_exact(monkeypatch):
    part = frozen(64, 5)
    x = torch.randn(9, 64)
    direct = INT8.linear(part, "fp32")(x)
    _integer_products_are_exact.cache_clear()
    monkeypatch.setattr(torch, "_int_mm", lambda one, other: (one.int() @ other.int()).clamp(-(2**15), 2**15 - 1))
    assert not _integer_products_are_exact()
    assert torch.equal(INT8.linear(part, "fp32")(x.clone()), direct)
    _integer_products_are_exact.cache_clear()


def test_the_gradient_is_that_of_a_product_with_the_rounded_weights():
    part = frozen(16, 4)
    x = torch.randn(5, 16, requires_grad=True)
    weights: FrozenWeights = freeze(part, "fp32")
    given = torch.randn(5, 4)
    INT8.linear(part, "fp32")(x).backward(given)
    assert torch.allclose(x.grad, given @ weights.back)
    assert (weights.back - part.weight).abs().max() <= part.weight.abs().max() / 254 + 1e-6


def test_query_key_and_value_round_their_input_once_and_another_input_anew():
    linear = INT8.linear(frozen(8, 3), "fp32")
    one = torch.randn(2, 8)
    first = linear(one)
    assert torch.equal(linear(one), first)
    other = torch.randn(2, 8)
    assert not torch.equal(linear(other), first)
    other.copy_(one)
    assert torch.equal(linear(other), first), "what was written over is another input"


def test_an_embedding_is_the_operators():
    part = nn.Embedding(50, 24, padding_idx=0).requires_grad_(False)
    ids = torch.randint(0, 50, (3, 7))
    rows, scales = quantize_rows(part.weight)
    expected = torch.ops.quantized_decomposed.embedding_byte.dtype(
        rows, scales, None, -128, 127, ids, dtype=torch.float32
    )
    assert of_rows_scale(INT8.embedding(part)(ids), expected) <= 1e-6


@pytest.mark.parametrize("layer_norm", ["none", "post"])
@pytest.mark.parametrize("shape", [(1, 1), (2, 33)])
def test_a_memory_is_the_operators(layer_norm, shape):
    torch.manual_seed(1)
    memory = Memory(SpartanConfig(8, 24, 3, layer_norm=layer_norm), 64)
    memory.reset_parameters(std=0.3, value_std=0.5)
    x = torch.randn(*shape, 64)
    packed = pack_int8(
        rounded_to_half(memory.parents.detach()), *quantize_cells(memory.keys, 8), *quantize_cells(memory.values, 8),
        3, memory.config.temperature, pack_keys=True,
    )  # fmt: skip
    norm = (None, None, 0.0) if memory.norm is None else (memory.norm.weight, memory.norm.bias, memory.norm.eps)
    with torch.no_grad():
        expected = torch.ops.spartan.memory_lookup.int8(x, *packed, *norm, True)
        assert of_rows_scale(INT8.memory(memory)(x), expected) <= 2e-6
        assert of_rows_scale(memory(x), expected) > 1e-5


@pytest.mark.parametrize("bits", [8, 4])
def test_cells_are_torchaos_to_the_bit(bits):
    cells = torch.randn(48, 96) * torch.randn(48, 1).exp()
    cells[3] = 0
    integers, scales = quantize_cells(cells, bits)
    rounded, found = rounded_cells(cells, bits)
    assert torch.equal(found.flatten(), scales.float().flatten())
    expected = integers.float().unflatten(1, (found.shape[1], -1)) * found.unsqueeze(-1)
    assert torch.equal(rounded, expected.flatten(1))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("precision", "most"), [("fp32", 1e-6), ("bf16", 5e-3)])
def test_a_frozen_linear_in_four_bits_is_a_product_of_rounded_rows_and_weights(bias, precision, most):
    part = frozen(96, 37, bias)
    x = torch.randn(2, 9, 96, requires_grad=True)
    expected = rounded_inputs(x.detach()).double() @ GRID.rounded(part.weight).double().T
    expected = expected + part.bias if bias else expected
    got = INT4.linear(part, precision)(x)
    assert of_rows_scale(got.detach(), expected) <= most
    given = torch.randn(2, 9, 37)
    got.backward(given)
    assert torch.allclose(x.grad, given @ GRID.rounded(part.weight), atol=1e-5 if precision == "fp32" else 0.05)


def test_a_trained_linear_in_four_bits_gets_a_gradient():
    part = nn.Linear(64, 6)
    x = torch.randn(3, 64, requires_grad=True)
    got = INT4.linear(part, "fp32")(x)
    expected = rounded_inputs(x.detach()) @ GRID.rounded(part.weight).T + part.bias
    assert of_rows_scale(got.detach(), expected) <= 1e-6
    got.sum().backward()
    assert part.weight.grad.abs().sum() > 0 and x.grad.abs().sum() > 0


def test_what_groups_do_not_divide_is_in_eight_bits_as_in_a_program():
    part, x = frozen(72, 5), torch.randn(4, 72)
    assert torch.equal(INT4.linear(part, "fp32")(x), INT8.linear(part, "fp32")(x))
    words, ids = nn.Embedding(50, 24).requires_grad_(False), torch.randint(0, 50, (2, 3))
    assert torch.equal(INT4.embedding(words)(ids), INT8.embedding(words)(ids))


def test_a_memory_that_groups_do_not_divide_is_refused_in_compiles_words():
    for hidden in (16, 48):
        memory = Memory(SpartanConfig(4, 8, 2), hidden)
        with pytest.raises(UsageError) as refused:
            INT4.memory(memory)
        with pytest.raises(UsageError) as compiled:
            quantize_cells(memory.keys, 4)
        assert refused.value.message == compiled.value.message
        assert refused.value.hint == "`--arithmetic int8` takes every hidden size"
        assert INT8.memory(memory)(torch.randn(1, 3, hidden)).shape == (1, 3, hidden)


def test_a_training_on_four_bits_is_refused_before_it_begins(tmp_path):
    encoder = write_encoder(tmp_path / "encoder", hidden_size=48)
    rows = write_examples(tmp_path / "rows.jsonl", sentiment(40, 0))
    settings, said = TrainSettings(arithmetic="int4"), []
    with pytest.raises(UsageError, match="do not divide the hidden size 48"):
        train(TrainRequest(encoder, rows, rows, tmp_path / "model.pt", settings=settings), said.append)
    assert not any(line.startswith(("encoder:", "epoch")) for line in said)
    assert [path.name for path in tmp_path.iterdir() if "model" in path.name] == []


@pytest.mark.parametrize("size", [1.0, 1e-6], ids=["usual", "beyond half precision"])
def test_an_embedding_in_four_bits_is_the_operators(size):
    part = nn.Embedding(50, 96, padding_idx=0).requires_grad_(False)
    part.weight.mul_(size)
    integers, scales = quantize_groups(part.weight)
    assert scales.dtype is (torch.float16 if size == 1 else torch.float32)
    ids = torch.randint(0, 50, (3, 7))
    arguments = (pack_pairs(integers), scales.float(), None, -8, 7, ids)  # in half precision eager rounds results too
    expected = torch.ops.quantized_decomposed.embedding_4bit.dtype(*arguments, dtype=torch.float32)
    assert torch.equal(INT4.embedding(part)(ids), expected)
    assert (expected - part(ids)).abs().max() <= part.weight.abs().max() / 9


def test_a_memory_in_four_bits_is_the_operators():
    torch.manual_seed(1)
    memory = Memory(SpartanConfig(8, 24, 3), 64)
    memory.reset_parameters(std=0.3, value_std=0.5)
    x = torch.randn(2, 33, 64)
    packed = pack_int4(
        rounded_to_half(memory.parents.detach()), *quantize_cells(memory.keys, 4), *quantize_cells(memory.values, 4),
        3, memory.config.temperature, pack_keys=True,
    )  # fmt: skip
    with torch.no_grad():
        expected = torch.ops.spartan.memory_lookup.int4(x, *packed, 32, None, None, 0.0, True)
        off = (INT4.memory(memory)(x) - expected).abs().amax(-1) / expected.abs().amax(-1)
    assert (off <= 2e-6).double().mean() > 0.9 and off.max() < 1e-2  # a weight on a half may be rounded either way


@pytest.mark.parametrize("arithmetic", ARITHMETICS)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_all_that_is_trained_gets_a_gradient_close_to_plain_fp32(arithmetic, precision, tmp_path):
    torch.manual_seed(0)
    spartan = SpartanConfig(4, 8, 2)
    classifier = build_classifier(load_backbone(write_encoder(tmp_path / "encoder")), spartan, 2, pairs=False)
    module = TrainingModule(classifier, CLASSIFICATION, 0.01, dropout=False).train()
    parameter_groups(module, TrainSettings())
    ids = torch.tensor([[2, 9, 8, 7, 3], [2, 12, 3, 0, 0]])

    def gradients():
        module.zero_grad()
        out = module(ids, (ids != 0).long(), torch.tensor([0, 1]))
        out["loss"].backward()
        return out["logits"].detach(), [each.grad for each in module.parameters() if each.requires_grad]

    logits, plain = gradients()
    with faster(classifier, precision, arithmetic):
        rounded_logits, rounded = gradients()
    again, _ = gradients()
    assert torch.equal(again, logits)
    assert (arithmetic == "fp32" and precision == "fp32") or not torch.equal(rounded_logits, logits)
    assert all(each is not None for each in rounded)
    whole, found = (torch.cat([each.flatten() for each in some]) for some in (plain, rounded))
    assert torch.nn.functional.cosine_similarity(whole, found, dim=0) > 0.97
