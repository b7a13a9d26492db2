"""The memory after every layer, in every architecture."""

import pytest
import torch
from tokenizers import Tokenizer

from spartanc.compiler.capture import capture
from spartanc.errors import CompileError, UnsupportedModelError
from spartanc.models.classifier import LayerWithMemory
from spartanc.models.memory import Memory
from spartanc.runtime_py.session import pad
from support.models import ARCHITECTURES, tiny_model, tiny_tokenizer


def random_inputs(length, batch=1, seed=1):
    ids = torch.randint(4, 60, (batch, length), generator=torch.Generator().manual_seed(seed))
    return ids, torch.ones_like(ids)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_exports_with_dynamic_length_and_agrees(architecture):
    model = tiny_model(architecture)
    longest = model.max_length
    assert longest == 40
    shortest = model.min_length
    length = torch.export.Dim("length", min=shortest, max=longest)
    with torch.no_grad():
        program = torch.export.export(
            model.module, random_inputs(8), dynamic_shapes=({1: length}, {1: length})
        ).module()
        for size in (1, 2, 17, longest):
            inputs = random_inputs(size, seed=size)
            expected = model.module(*inputs)
            inputs = [torch.from_numpy(each) for each in pad(*(each.numpy() for each in inputs), shortest)]
            assert torch.isfinite(expected).all()
            assert expected.abs().max() > 0
            torch.testing.assert_close(program(*inputs), expected, rtol=0, atol=1e-6)


def test_no_program_of_neighbours_takes_less_than_three_tokens():
    """What `min_length` says is the least that torch.export grants: one less is refused."""
    model = tiny_model("mobilebert")
    assert model.min_length == 3
    capture(model.module, model.max_length, 3)
    with pytest.raises(CompileError, match="could not capture the model"):
        capture(model.module, model.max_length, 2)
    alone = tiny_model("mobilebert", changes={"trigram_input": False})
    assert alone.min_length == 1
    capture(alone.module, alone.max_length)


def test_a_token_before_padding_has_no_neighbour_there():
    """Whatever stands at masked positions: transformers' own embeddings would mix it in."""
    module = tiny_model("mobilebert").module
    ids, mask = random_inputs(9)
    mask[0, 5:] = 0
    other = ids.clone()
    other[0, 5:] = 7
    with torch.no_grad():
        alone = module(ids[:, :5], mask[:, :5])
        for padded in (ids, other):
            torch.testing.assert_close(module(padded, mask), alone, rtol=0, atol=1e-6)
        theirs = [module.network(input_ids=each, attention_mask=mask).logits for each in (ids, other)]
    assert (theirs[0] - theirs[1]).abs().max() > 1e-4


def test_mobilebert_without_bottlenecks_is_refused():
    with pytest.raises(UnsupportedModelError, match="`use_bottleneck` `False` is not supported"):
        tiny_model("mobilebert", changes={"use_bottleneck": False})


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_memory_stands_after_every_layer_and_changes_the_logits(architecture):
    model = tiny_model(architecture, layers=3)
    assert [type(layer) for layer in model.module.layers()] == [LayerWithMemory] * 3
    inputs = random_inputs(9)
    trace = model.module.trace(*inputs)
    assert len(trace.hidden_states) == 4
    for memory in model.module.memories():
        before = model.module(*inputs)
        with torch.no_grad():
            memory.values.zero_()
        assert (model.module(*inputs) - before).abs().max() > 1e-4


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_padding_does_not_change_the_logits(architecture):
    model = tiny_model(architecture)
    ids, mask = random_inputs(7)
    pad = model.module.config.pad_token_id
    padded = torch.cat([ids, torch.full((1, 6), pad)], 1)
    padded_mask = torch.cat([mask, torch.zeros(1, 6, dtype=torch.long)], 1)
    with torch.no_grad():
        torch.testing.assert_close(model.module(padded, padded_mask), model.module(ids, mask), rtol=0, atol=1e-5)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_task_and_backbone_share_no_tensor_and_miss_none(architecture):
    model = tiny_model(architecture)
    task, backbone = model.task_tensors(), model.backbone_tensors()
    assert not set(task) & set(backbone)
    assert set(task) | set(backbone) == set(dict(model.module.named_parameters()))
    norms = {name for name, module in model.module.named_modules() if isinstance(module, torch.nn.LayerNorm)}
    frozen = {f"network.{name}" for name in model.module.adapter.frozen_norms}
    assert frozen <= norms
    # MobileBERT's normalise nothing: they belong to the linears before them.
    frozen |= {name for name, module in model.module.named_modules() if type(module).__name__ == "NoNorm"}
    for tensors, expected in ((task, norms - frozen), (backbone, frozen)):
        assert {name.rpartition(".")[0] for name in tensors if "norm" in name.lower()} == expected
    assert any("classifier" in name for name in task)
    assert not any("classifier" in name for name in backbone)
    assert sum(".memory." in name for name in task) == 2 * 3


@pytest.mark.parametrize("architecture", ["bert", "electra"])
def test_segments_are_those_of_the_tokenizer(architecture):
    module = tiny_model(architecture).module
    tokenizer = Tokenizer.from_str(tiny_tokenizer())
    for texts in (("where is the card",), ("where is the card", "my card was lost"), ("", "good")):
        encoding = tokenizer.encode(*texts)
        got = module._token_types(torch.tensor([encoding.ids]))
        assert got[0].tolist() == encoding.type_ids
    # Hugging Face's own forward, given the tokenizer's segments, is what ours computes from ids alone.
    encoding = tokenizer.encode("where is the card", "my card was lost")
    ids, mask, types = (torch.tensor([row]) for row in (encoding.ids, encoding.attention_mask, encoding.type_ids))
    with torch.no_grad():
        expected = module.network(input_ids=ids, attention_mask=mask, token_type_ids=types).logits
        without = module.network(input_ids=ids, attention_mask=mask).logits
        torch.testing.assert_close(module(ids, mask), expected, rtol=0, atol=0)
    assert (without - expected).abs().max() > 1e-4


@pytest.mark.parametrize("architecture", ["roberta", "distilbert", "mpnet"])
def test_encoders_without_segments_have_no_separator(architecture):
    assert tiny_model(architecture).module.segment_separator is None


def test_forward_does_not_change_the_module():
    module = tiny_model().module
    before = {name: value.clone() for name, value in module.state_dict().items()}
    attributes = {name: set(vars(part)) for name, part in module.named_modules()}
    module(*random_inputs(5))
    assert {name: set(vars(part)) for name, part in module.named_modules()} == attributes
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_trace_leaves_no_hook():
    module = tiny_model().module
    module.trace(*random_inputs(5))
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())
    assert all(isinstance(memory, Memory) for memory in module.memories())
