"""Pooling: what the classifier reads, by itself, in batches, trained, saved, and chosen from a checkpoint."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModel,
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    BertModel,
    DistilBertForMaskedLM,
    ElectraForPreTraining,
    MPNetModel,
    RobertaForMaskedLM,
    RobertaModel,
)

from spartanc.errors import SpartancError, UsageError
from spartanc.models.backbone import build_classifier, load_backbone
from spartanc.models.checkpoint import load_model, save_model
from spartanc.models.choose_pooling import choose_pooling
from spartanc.models.memory import SpartanConfig
from spartanc.models.settings import TrainRequest, TrainSettings
from spartanc.models.training import train
from support.encoders import save_encoder, sentiment, write_encoder, write_examples
from support.models import ARCHITECTURES, last_states, roberta_like, tiny_encoder_config, tiny_model, tiny_tokenizer

MEMORY = SpartanConfig(parents=4, cells=8, top_k=2)
MASKED = {"distilbert": DistilBertForMaskedLM, "electra": ElectraForPreTraining, "roberta": RobertaForMaskedLM}


def edit_tensors(directory, change):
    tensors = load_file(directory / "model.safetensors")
    change(tensors)
    save_file(tensors, directory / "model.safetensors")


def train_biases(directory):
    """As a trained encoder has them: none is left at zero."""

    def change(tensors):
        for name, tensor in tensors.items():
            if name.endswith(".bias"):
                tensor.normal_(std=0.1, generator=torch.Generator().manual_seed(len(name)))

    edit_tensors(directory, change)


def write_other(directory, architecture, model_class):
    """A directory of another architecture than BERT."""
    config = {name: value for name, value in tiny_encoder_config(architecture).items() if name != "num_labels"}
    torch.manual_seed(0)
    model = model_class(model_class.config_class(**{k: v for k, v in config.items() if k != "model_type"}))
    directory.mkdir()
    (directory / "config.json").write_text(json.dumps(config))
    (directory / "tokenizer.json").write_text(tiny_tokenizer(roberta_like(architecture)))
    state = {name: value.contiguous().clone() for name, value in model.state_dict().items()}
    save_file(state, directory / "model.safetensors")
    train_biases(directory)
    return directory


def say_sentence_pooling(directory, **config):
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    ]
    (directory / "modules.json").write_text(json.dumps(modules))
    (directory / "1_Pooling").mkdir()
    (directory / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": 32} | config))


def chosen(directory, asked="auto", layers=None):
    return choose_pooling(load_backbone(directory, layers), asked).pooling


@pytest.fixture
def encoder(tmp_path):
    directory = write_encoder(tmp_path / "encoder")
    train_biases(directory)
    return directory


def test_a_trained_pooler_is_taken(encoder):
    assert chosen(encoder) == "pooler"
    assert chosen(encoder, "pooler") == "pooler"
    classifier = build_classifier(load_backbone(encoder), MEMORY, 2, False, "pooler")
    weight = load_file(encoder / "model.safetensors")["pooler.dense.weight"]
    assert torch.equal(classifier.network.bert.pooler.dense.weight, weight)
    assert not any("pooler" in name for name in classifier.task_names())


def test_a_pooler_behind_layers_that_are_left_out_is_not(encoder):
    assert chosen(encoder, layers=1) == "mean"


def test_a_pooler_that_was_saved_but_never_trained_is_none(encoder):
    edit_tensors(encoder, lambda tensors: tensors["pooler.dense.bias"].zero_())
    assert chosen(encoder) == "mean"
    assert "never trained" in choose_pooling(load_backbone(encoder), "auto").reason
    assert chosen(encoder, "pooler") == "task_pooler"


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}, "mean"),
        ({"pooling_mode_mean_tokens": False, "pooling_mode_cls_token": True}, "cls"),
        ({"pooling_mode": "cls"}, "cls"),
        ({"pooling_mode_max_tokens": True}, "mean"),
        ({"pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": True}, "mean"),
    ],
)
def test_without_one_a_sentence_transformers_directory_says(tmp_path, config, expected):
    directory = write_encoder(tmp_path / "masked", BertForMaskedLM)
    assert chosen(directory) == "mean"
    say_sentence_pooling(directory, **config)
    assert chosen(directory) == expected


def test_a_pooler_that_hands_on_the_first_position_is_that(tmp_path):
    """As in MobileBERT's published checkpoint; transformers' classifier then reads that position."""
    directory = save_encoder(tmp_path / "encoder", "mobilebert", classifier_activation=False)
    assert (chosen(directory), chosen(directory, "pooler"), chosen(directory, "mean")) == ("cls", "cls", "mean")
    assert chosen(directory, layers=1) == "mean"
    module = build_classifier(load_backbone(directory), MEMORY, 2, False, "cls").eval()
    ids = torch.randint(4, 40, (1, 7), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        for memory in module.memories():
            memory.values.zero_()
        first = AutoModel.from_pretrained(directory).eval()(ids).pooler_output
        assert first.std() > 0.1
        expected = module.network.classifier(first)
        torch.testing.assert_close(module(ids, torch.ones_like(ids)), expected, rtol=0, atol=1e-5)


def test_unknown_word_for_pooling(encoder):
    with pytest.raises(UsageError, match="unknown `--pooling max`"):
        chosen(encoder, "max")


def test_a_missing_pooler_is_never_drawn_and_frozen(tmp_path):
    backbone = load_backbone(write_encoder(tmp_path / "masked", BertForMaskedLM))
    with pytest.raises(SpartancError, match=r"lacks tensors: `bert\.pooler\.dense\.bias`"):
        build_classifier(backbone, MEMORY, 2, False, "pooler")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_pooled_logits_are_what_the_last_states_give(architecture, pooling):
    model = tiny_model(architecture, pooling=pooling)
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(4, 40, (3, 9), generator=generator)
    lengths = [9, 4, 1]
    mask = torch.tensor([[1] * length + [0] * (9 - length) for length in lengths])
    states = last_states(model.module, ids, mask).double()
    rows = [state[:length] for state, length in zip(states, lengths, strict=True)]
    pooled = torch.stack([row[0] if pooling == "cls" else row.mean(0) for row in rows])
    linear = model.module.network.classifier
    expected = pooled @ linear.weight.double().T + linear.bias.double()
    assert expected.abs().max() > 1e-2
    assert (model.module(ids, mask) - expected).abs().max() < 1e-5


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_row_gives_the_same_mean_alone_and_padded(architecture):
    model = tiny_model(architecture, pooling="mean")
    pad = model.module.config.pad_token_id
    ids = torch.randint(4, 40, (1, 5), generator=torch.Generator().manual_seed(2))
    padded = torch.cat([ids, torch.full((1, 7), pad)], 1)
    mask = (torch.arange(12) < 5).long()[None]
    alone = model.module(ids, torch.ones_like(ids))
    assert (model.module(padded, mask) - alone).abs().max() < 1e-5
    other = padded.clone()
    other[0, 7] = 9  # whatever stands there
    assert (model.module(other, mask) - alone).abs().max() < 1e-5


@pytest.mark.parametrize("pooling", ["cls", "mean", "task_pooler"])
def test_pooling_is_saved_and_loaded(pooling, tmp_path):
    model = tiny_model(pooling=pooling)
    save_model(model, tmp_path / "model.pt")
    loaded = load_model(tmp_path / "model.pt")
    assert loaded.module.pooling == pooling
    ids = torch.randint(4, 40, (2, 6))
    assert torch.equal(loaded.module(ids, torch.ones_like(ids)), model.module(ids, torch.ones_like(ids)))
    names = set(loaded.task_tensors())
    assert {"network.classifier.weight", "network.classifier.bias"} <= names
    assert ("network.bert.pooler.dense.weight" in names) == (pooling == "task_pooler")
    assert not any("pooler" in name for name in loaded.backbone_tensors())


def test_files_of_earlier_versions_have_hugging_faces_own_head(tmp_path):
    model = tiny_model()
    save_model(model, tmp_path / "model.pt")
    content = torch.load(tmp_path / "model.pt", weights_only=True)
    assert content.pop("pooling") == "pooler"
    torch.save(content, tmp_path / "model.pt")
    loaded = load_model(tmp_path / "model.pt")
    ids = torch.randint(4, 40, (2, 6))
    assert torch.equal(loaded.module(ids, torch.ones_like(ids)), model.module(ids, torch.ones_like(ids)))
    assert "network.bert.pooler.dense.weight" in loaded.backbone_tensors()


def test_wrong_pooling_in_a_file(tmp_path):
    save_model(tiny_model("distilbert", pooling="mean"), tmp_path / "model.pt")
    content = torch.load(tmp_path / "model.pt", weights_only=True)
    for value, said in (("max", "pooling `max`"), (3, "of type `int`"), ("task_pooler", "pooling `task_pooler`")):
        torch.save(content | {"pooling": value}, tmp_path / "model.pt")
        with pytest.raises(UsageError, match=said):
            load_model(tmp_path / "model.pt")


def quick(tmp_path, encoder, **options):
    lines = []
    data = write_examples(tmp_path / "train.jsonl", sentiment(48, 1))
    options = {"settings": TrainSettings(epochs=1), "adapt": False, "spartan": MEMORY, "overwrite": True} | options
    result = train(TrainRequest(encoder, data, data, tmp_path / "model.pt", **options), lines.append)
    return result, load_model(tmp_path / "model.pt"), "\n".join(lines)


def test_training_a_new_pooler_moves_it(tmp_path):
    encoder = write_encoder(tmp_path / "masked", BertForMaskedLM)
    result, model, said = quick(tmp_path, encoder, pooling="pooler")
    assert result.pooling == "task_pooler"
    torch.manual_seed(0)
    start = build_classifier(load_backbone(encoder), MEMORY, 2, False, "task_pooler")
    for name in ("weight", "bias"):
        before, after = (getattr(each.network.bert.pooler.dense, name) for each in (start, model.module))
        assert not torch.equal(before, after), name
    assert "the checkpoint has no pooler: a new one, part of the task" in said
    assert "left out: `cls`" in said


def test_training_says_what_was_loaded_and_what_was_left_out(tmp_path):
    torch.manual_seed(0)
    directory = tmp_path / "tuned"
    directory.mkdir()
    config = {name: value for name, value in tiny_encoder_config("bert").items() if name != "model_type"}
    model = BertForSequenceClassification(BertConfig(**config | {"id2label": {0: "no", 1: "yes", 2: "maybe"}}))
    model.save_pretrained(directory)
    (directory / "tokenizer.json").write_text(tiny_tokenizer())
    train_biases(directory)
    result, trained, said = quick(tmp_path, directory)
    assert result.pooling == "pooler"
    assert trained.labels == ("negative", "positive")
    assert "pooling: pooler (the checkpoint has a trained pooler)" in said
    assert "left out: its own classifier (2 tensors, labels no, yes, maybe)" in said


@pytest.mark.parametrize("architecture", MASKED)
def test_masked_language_models_of_every_architecture_train_and_load(architecture, tmp_path):
    encoder = write_other(tmp_path / "masked", architecture, MASKED[architecture])
    result, model, said = quick(tmp_path, encoder)
    assert result.pooling == model.module.pooling == "mean"
    assert "left out: " in said
    result, model, _ = quick(tmp_path, encoder, pooling="pooler")
    assert result.pooling == "pooler"  # Hugging Face's own head, which the task owns as a whole
    assert not any("classifier" in name for name in model.backbone_tensors())


@pytest.mark.parametrize(("architecture", "model_class"), [("roberta", RobertaModel), ("mpnet", MPNetModel)])
def test_a_trained_pooler_is_where_the_heads_dense_layer_starts(architecture, model_class, tmp_path):
    encoder = write_other(tmp_path / "encoder", architecture, model_class)
    assert chosen(encoder) == "pooler"
    classifier = build_classifier(load_backbone(encoder), MEMORY, 2, False, "pooler")
    tensors = load_file(encoder / "model.safetensors")
    assert torch.equal(classifier.network.classifier.dense.weight, tensors["pooler.dense.weight"])
    assert "network.classifier.dense.weight" in classifier.task_names()


def test_starting_from_a_model_takes_its_pooling(encoder, tmp_path):
    _, first, _ = quick(tmp_path, encoder, pooling="cls")
    (tmp_path / "model.pt").rename(tmp_path / "first.pt")
    result, _, _ = quick(tmp_path, encoder, init_from=tmp_path / "first.pt")
    assert result.pooling == first.module.pooling == "cls"
    with pytest.raises(UsageError, match="does not fit"):
        quick(tmp_path, encoder, init_from=tmp_path / "first.pt", pooling="pooler", layers=1)


def test_original_bert_model_class_is_no_masked_language_model(tmp_path):
    """A wholly random encoder, biases and all, is taken as it is: its pooler is as good as the rest."""
    assert chosen(write_encoder(tmp_path / "random", BertModel)) == "pooler"
