"""Encoders' directories: in one file or in shards, and what is no encoder is called by its name."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

from spartanc.errors import SpartancError
from spartanc.models.backbone import build_classifier, load_backbone
from spartanc.models.checkpoint import load_model
from spartanc.models.memory import SpartanConfig
from spartanc.models.settings import TrainRequest, TrainSettings
from spartanc.models.training import train
from support.encoders import sentiment, write_encoder, write_examples

MEMORY = SpartanConfig(parents=4, cells=8, top_k=2)


@pytest.fixture
def encoder(tmp_path):
    return write_encoder(tmp_path / "encoder")


def fails(path, code, *said, layers=None):
    with pytest.raises(SpartancError) as caught:
        build_classifier(load_backbone(path, layers), MEMORY, 2, False)
    assert caught.value.exit_code == code
    for part in said:
        assert part in str(caught.value)


def shard(directory, suffix="safetensors"):
    """Two files in the place of one, as transformers splits a large model."""
    tensors = load_file(directory / "model.safetensors")
    (directory / "model.safetensors").unlink()
    names = sorted(tensors)
    stem = "model" if suffix == "safetensors" else "pytorch_model"
    weight_map = {}
    for number, part in enumerate((names[::2], names[1::2]), 1):
        file = f"{stem}-{number:05}-of-00002.{suffix}"
        held = {name: tensors[name] for name in part}
        save_file(held, directory / file) if suffix == "safetensors" else torch.save(held, directory / file)
        weight_map |= dict.fromkeys(part, file)
    index = directory / f"{stem}.{suffix}.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": weight_map}))
    return tensors, index


@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_shards_hold_what_the_one_file_held(encoder, suffix):
    whole = load_backbone(encoder).tensors
    tensors, _ = shard(encoder, suffix)
    found = load_backbone(encoder).tensors
    assert len(found) == len(tensors) > 30
    assert found.keys() == whole.keys()
    assert all(torch.equal(found[name], whole[name]) for name in whole)


def test_a_missing_shard_and_a_missing_tensor_are_named(encoder):
    _, index = shard(encoder)
    second = encoder / "model-00002-of-00002.safetensors"
    held = load_file(second)
    lost = held.popitem()[0]
    save_file(held, second)
    fails(encoder, 2, str(second), lost, "index.json` lists")
    second.unlink()
    fails(encoder, 2, "lacks `model-00002-of-00002.safetensors` of the 2 files")
    for content, said in (({}, "no `weight_map`"), ({"weight_map": {"a": "../a.bin"}}, "not the name of a file")):
        index.write_text(json.dumps(content))
        fails(encoder, 2, str(index), said)


@pytest.mark.parametrize("prefix", ["", "bert."])
def test_missing_tensors_are_named_as_the_file_names_its_own(encoder, prefix):
    tensors = {prefix + name: tensor for name, tensor in load_file(encoder / "model.safetensors").items()}
    del tensors[f"{prefix}encoder.layer.1.output.dense.bias"]
    save_file(tensors, encoder / "model.safetensors")
    fails(encoder, 2, f"lacks tensors: `{prefix}encoder.layer.1.output.dense.bias`")
    tensors[f"{prefix}encoder.layer.1.output.dense.bias"] = torch.zeros(3)
    save_file(tensors, encoder / "model.safetensors")
    fails(encoder, 2, f"`{prefix}encoder.layer.1.output.dense.bias` has shape `[3]`, expected `[32]`")


def test_missing_tensors_of_tensorflows_names(encoder):
    tensors = load_file(encoder / "model.safetensors")
    tensors = {name.replace("LayerNorm.weight", "LayerNorm.gamma"): tensor for name, tensor in tensors.items()}
    del tensors["encoder.layer.0.output.LayerNorm.gamma"]
    save_file(tensors, encoder / "model.safetensors")
    fails(encoder, 2, "lacks tensors: `encoder.layer.0.output.LayerNorm.gamma`")


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"architectures": ["BertModel"]}, 'add the line `"model_type": "bert",` to config.json'),
        ({"architectures": ["MPNetForMaskedLM"]}, '"model_type": "mpnet"'),
        ({"architectures": ["T5Model"]}, "one of albert, bert, camembert"),
        ({"dim": 32, "n_layers": 2}, '"model_type": "distilbert"'),
        ({}, "one of albert, bert, camembert"),
    ],
)
def test_a_config_without_model_type_says_which_line_to_add(encoder, config, said):
    (encoder / "config.json").write_text(json.dumps(config))
    fails(encoder, 3, "no `model_type`", said)


def test_what_is_no_encoder_is_called_by_its_name(tmp_path, encoder):
    peft = tmp_path / "peft"
    peft.mkdir()
    adapter = {"peft_type": "LORA", "base_model_name_or_path": "bert-base-uncased"}
    (peft / "adapter_config.json").write_text(json.dumps(adapter))
    (peft / "adapter_model.safetensors").touch()
    fails(peft, 2, "is a peft adapter (LORA) of `bert-base-uncased`", "merge_and_unload")
    with pytest.raises(SpartancError, match="is a peft adapter"):
        load_model(peft)

    (peft / "adapter_config.json").write_text(json.dumps({"config": {}, "model_name": "roberta-base"}))
    fails(peft, 2, "an adapter of the adapters library, of `roberta-base`")
    (peft / "adapter_config.json").write_text("[")
    fails(peft, 2, "adapters library")

    (tmp_path / "model.onnx").touch()
    fails(tmp_path / "model.onnx", 2, "is an ONNX model", "hint: give the encoder that it was made from")
    with pytest.raises(SpartancError, match="is an ONNX model"):
        load_model(tmp_path / "model.onnx")
    (encoder / "model.safetensors").unlink()
    fails(encoder, 2, "neither model.safetensors nor pytorch_model.bin")
    (encoder / "onnx").mkdir()
    (encoder / "onnx" / "model.onnx").touch()
    fails(encoder, 2, "holds an ONNX model (`onnx/model.onnx`) and no PyTorch weights")

    (tmp_path / "model.pt").touch()
    fails(tmp_path / "model.pt", 2, "is a file", "--init-from")


@pytest.mark.parametrize("name", ["bert-base-uncased", "sentence-transformers/all-MiniLM-L6-v2"])
def test_a_name_of_the_hub_is_not_downloaded(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fails(name, 2, f"no encoder at `{name}`", f"`hf download {name} --local-dir DIR`")
    with pytest.raises(SpartancError, match="nothing is downloaded here"):
        load_model(name)
    with pytest.raises(SpartancError, match=r"give a model\.pt"):
        load_model("none/of/these.pt")


def test_a_sentence_transformers_model_with_its_encoder_in_a_folder(tmp_path, encoder):
    (tmp_path / "sentence").mkdir()
    (tmp_path / "sentence" / "modules.json").write_text("[]")
    encoder.rename(tmp_path / "sentence" / "0_Transformer")
    fails(tmp_path / "sentence", 2, "lies in a folder of it", "0_Transformer")


def test_a_tokenizer_larger_than_the_table_is_refused_before_training(encoder, tmp_path):
    """Also where no row holds the token: a later text would."""
    tokenizer = Tokenizer.from_file(str(encoder / "tokenizer.json"))
    tokenizer.add_tokens([f"<user{number}>" for number in range(64)])
    tokenizer.save(str(encoder / "tokenizer.json"))
    data = write_examples(tmp_path / "train.jsonl", sentiment(16, 1))
    settings = TrainSettings(epochs=1)
    lines = []
    request = TrainRequest(encoder, data, data, tmp_path / "model.pt", settings=settings, spartan=MEMORY)
    with pytest.raises(SpartancError, match=r"the tokenizer has \d+ tokens, the encoder's table 64") as caught:
        train(request, lines.append)
    assert caught.value.exit_code == 2
    assert not any(line.startswith("epoch") for line in lines)
    assert not list(tmp_path.glob("*model.pt*"))
