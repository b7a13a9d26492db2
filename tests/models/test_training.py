"""Training: learns, repeats, and says what is wrong with its input."""

import random
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import BertForMaskedLM, BertModel

from spartanc.compiler.inspection import inspect_path
from spartanc.errors import GateError, SpartancError, UsageError
from spartanc.models.backbone import build_classifier, load_backbone
from spartanc.models.checkpoint import load_model, model_digest
from spartanc.models.memory import SpartanConfig
from spartanc.models.objective import TrainingModule, load_balancing_loss, parameter_groups
from spartanc.models.settings import TrainRequest, TrainSettings
from spartanc.models.training import train
from spartanc.runtime_py.data import read_examples
from spartanc.runtime_py.task_types.classification import CLASSIFICATION
from support.encoders import sentiment, write_encoder, write_examples
from support.models import tiny_model, tiny_tokenizer

pytestmark = pytest.mark.usefixtures("one_thread")

GOLDEN = Path(__file__).parents[1] / "golden" / "roberta-v1"
MEMORY = SpartanConfig(parents=4, cells=8, top_k=2)
LEARNS = TrainSettings(epochs=5, batch_size=8, lr=0.03, norm_lr=0.03)


@pytest.fixture
def files(tmp_path):
    encoder = write_encoder(tmp_path / "encoder")
    data = write_examples(tmp_path / "train.jsonl", sentiment(96, 1))
    dev = write_examples(tmp_path / "dev.jsonl", sentiment(40, 2))
    return encoder, data, dev


def quick(files, out, **options):
    report = options.pop("report", None)
    options = {"settings": TrainSettings(epochs=1, batch_size=8), "adapt": False, "spartan": MEMORY} | options
    return train(TrainRequest(*files, out, **options), report)


def test_two_trainings_of_one_model_do_not_mix(files, tmp_path):
    other = []

    def start_another(line):
        if line.startswith("epoch"):
            with pytest.raises(SpartancError, match="another training is writing") as caught:
                quick(files, tmp_path / "model.pt")
            other.append(caught.value.exit_code)

    quick(files, tmp_path / "model.pt", report=start_another)
    assert other == [2]
    assert load_model(tmp_path / "model.pt").labels == ("negative", "positive")
    assert not list(tmp_path.glob(".model.pt*"))


def test_few_rows_get_steps_and_rates_that_suit_them(files, tmp_path):
    lines = []
    write_examples(files[1], sentiment(16, 1))
    few = quick(files, tmp_path / "few.pt", settings=TrainSettings(), adapt=True, report=lines.append)
    assert any("16 rows are few: 60 epochs" in line for line in lines)
    assert few.steps == 120
    assert len(few.history) == 6
    told = quick(files, tmp_path / "told.pt", settings=TrainSettings(epochs=3))
    assert told.steps == 6
    assert few.best["accuracy"] > told.best["accuracy"]


def plain_history(result):
    return [{name: value for name, value in entry.items() if name != "seconds"} for entry in result.history]


def test_training_learns_and_writes_a_model_with_its_examples(files, tmp_path, capfd):
    lines = []
    write_examples(files[1], sentiment(256, 1))
    result = quick(files, tmp_path / "model.pt", settings=LEARNS, report=lines.append)
    assert result.best["accuracy"] > 0.9
    assert len(result.history) == 5
    assert lines[-2].startswith("epoch 5: accuracy")
    labels = [example.label for example in read_examples(files[2])]
    majority = max(labels.count(name) for name in set(labels)) / len(labels)
    assert result.majority_accuracy == majority
    assert f", {majority:.4f} by always" in lines[-1] and "warning" not in lines[-1]
    assert result.learned is True and result.metric == "accuracy"
    assert set(result.best) == {"accuracy", "macro_f1", "weighted_f1", "matthews"} <= set(result.history[0])
    assert result.best["accuracy"] == max(entry["accuracy"] for entry in result.history)
    assert np.sum(result.details["confusion"]) == 40
    assert np.trace(result.details["confusion"]) == result.best["accuracy"] * 40
    assert capfd.readouterr().out == ""
    model = load_model(tmp_path / "model.pt")
    shown = inspect_path(tmp_path / "model.pt")["training"]
    assert shown["settings"]["epochs"] == 5 and set(shown["data"]) == {"train", "eval"}
    assert shown["versions"]["torch"] == torch.__version__
    assert shown["results"]["best"] == result.best and shown["results"]["learned"] is True
    assert model.labels == ("negative", "positive")
    assert model.problem == "classification"
    assert model.module.segment_separator is None
    assert len(model.eval_examples) == 40
    assert set(model.eval_examples) <= set(read_examples(files[2]))
    encoder = model.text_encoder(40)
    ids = torch.tensor([encoder.encode("this film was great").ids])
    with torch.no_grad():
        assert model.labels[model.module(ids, torch.ones_like(ids)).argmax()] == "positive"
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "dev.jsonl",
        "encoder",
        "model.metrics.jsonl",
        "model.pt",
        "train.jsonl",
    ]


def test_a_model_that_is_no_better_than_one_answer_is_called_so(files, tmp_path):
    rows = [row | {"label": "positive"} for row in sentiment(40, 2)]
    dev = write_examples(tmp_path / "one.jsonl", [*rows[1:], rows[0] | {"label": "negative"}])
    lines = []
    result = quick((*files[:2], dev), tmp_path / "model.pt", report=lines.append)
    assert result.best["accuracy"] <= result.majority_accuracy == 39 / 40
    assert lines[-1].startswith("warning: the model is no better than always `positive`: accuracy 0.")
    assert ", 0.9750 by always `positive`; answers: `positive` " in lines[-1]
    assert result.learned is False and result.metric == "macro_f1"
    with pytest.raises(GateError, match=r"no better than always `positive`.*no model was written") as caught:
        quick((*files[:2], dev), tmp_path / "other.pt", require_learning=True)
    assert caught.value.exit_code == 6
    assert not list(tmp_path.glob("*other.pt*"))


@pytest.mark.parametrize("scores", [False, True])
def test_labels_in_any_order_teach_nothing(files, tmp_path, scores):
    """Classes and numbers that have nothing to do with their texts."""
    rows = list(sentiment(200, 1, scores=scores))
    labels = [row["label"] for row in rows]
    random.Random(0).shuffle(labels)
    shuffled = [row | {"label": label} for row, label in zip(rows, labels, strict=True)]
    data = write_examples(tmp_path / "shuffled.jsonl", shuffled[:100])
    dev = write_examples(tmp_path / "other.jsonl", shuffled[100:])
    lines = []
    result = quick((files[0], data, dev), tmp_path / "model.pt", report=lines.append)
    assert result.learned is False
    assert lines[-1].startswith("warning: the model is no better than always")


def test_the_epoch_is_chosen_by_the_measure_that_is_asked_for(files, tmp_path):
    result = quick(files, tmp_path / "model.pt", settings=replace(LEARNS, metric="loss"))
    assert result.metric == "loss"
    losses = [entry["loss"] for entry in result.history]
    assert result.best["accuracy"] == result.history[losses.index(min(losses))]["accuracy"]
    with pytest.raises(UsageError, match="metric `r2` is not one of auto, accuracy, macro_f1"):
        quick(files, tmp_path / "other.pt", settings=replace(LEARNS, metric="r2"))


def test_patience_ends_a_training_that_gets_no_better(files, tmp_path):
    still = TrainSettings(epochs=9, lr=0, values_lr=0, head_lr=0, norm_lr=0, patience=2)
    assert len(quick(files, tmp_path / "model.pt", settings=still).history) == 3


def test_balanced_classes_count_alike_in_the_loss():
    classifier = tiny_model(labels=("a", "b")).module
    rows = {"input_ids": torch.tensor([[4, 5], [6, 7]]), "attention_mask": torch.ones(2, 2, dtype=torch.long)}
    given = {}
    for weights in (None, torch.tensor([0.25, 1.0])):
        module = TrainingModule(classifier, CLASSIFICATION, 0.0, dropout=False, class_weights=weights)
        with torch.no_grad():
            given[weights is None] = module(**rows, labels=torch.tensor([0, 1]))["loss"].item()
            logits = classifier(rows["input_ids"], rows["attention_mask"])
    each = torch.nn.functional.cross_entropy(logits, torch.tensor([0, 1]), reduction="none")
    assert given[True] == pytest.approx(each.mean().item())
    assert given[False] == pytest.approx(((0.25 * each[0] + each[1]) / 1.25).item())


def test_class_weights_go_where_the_model_goes_and_into_no_checkpoint():
    """To torch's device without numbers, since there may be no other one here; encoders look at numbers."""

    class Summing(torch.nn.Linear):
        def forward(self, input_ids, attention_mask):
            return super().forward((input_ids * attention_mask).float())

    module = TrainingModule(Summing(2, 2), CLASSIFICATION, 0.0, dropout=False, class_weights=torch.ones(2)).train()
    assert "class_weights" not in module.state_dict()
    module.to("meta")
    rows = {"input_ids": torch.tensor([[4, 5]]), "attention_mask": torch.ones(1, 2), "labels": torch.tensor([0])}
    module(**{name: value.to("meta") for name, value in rows.items()})["loss"].backward()
    assert module.class_weights.device.type == "meta"


def test_class_weights_need_classes(files, tmp_path):
    data = write_examples(tmp_path / "scores.jsonl", sentiment(16, 1, scores=True))
    with pytest.raises(UsageError, match="a regression has none"):
        quick((files[0], data, data), tmp_path / "model.pt", settings=replace(LEARNS, class_weights="balanced"))


def test_only_the_task_is_trained(files, tmp_path):
    quick(files, tmp_path / "model.pt", settings=TrainSettings(epochs=1, batch_size=8))
    model = load_model(tmp_path / "model.pt")
    start = BertModel.from_pretrained(files[0]).state_dict()
    given = {model.module.place(f"bert.{name}"): value for name, value in start.items()}
    for name, value in model.backbone_tensors().items():
        assert torch.equal(value, given[name]), name
    task = model.task_tensors()
    norm = task["network.bert.encoder.layer.0.layer.output.LayerNorm.weight"]
    assert not torch.equal(norm, torch.ones_like(norm))


@pytest.mark.parametrize("asked", [{}, {"arithmetic": "fp32"}], ids=["default", "fp32"])
def test_a_model_learns_on_int8_unless_told_otherwise_and_says_so(files, tmp_path, asked):
    result = quick(files, tmp_path / "model.pt", settings=replace(LEARNS, **asked))
    assert result.best["accuracy"] >= 0.9
    arithmetic = inspect_path(tmp_path / "model.pt")["training"]["settings"]["arithmetic"]
    assert arithmetic == asked.get("arithmetic", "int8")


def test_arithmetics_that_are_none_are_refused():
    with pytest.raises(UsageError, match="arithmetic `int9` is not one of fp32, int8, int4"):
        replace(LEARNS, arithmetic="int9")


def test_same_seed_gives_the_same_bytes(files, tmp_path):
    settings = TrainSettings(epochs=1, batch_size=8, seed=3)
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
    first = quick(files, tmp_path / "one" / "a.pt", settings=settings)
    second = quick(files, tmp_path / "two" / "a.pt", settings=settings)
    assert plain_history(first) == plain_history(second)
    assert Path(first.model).read_bytes() == Path(second.model).read_bytes()
    other = quick(files, tmp_path / "c.pt", settings=TrainSettings(epochs=1, batch_size=8, seed=4))
    assert plain_history(other) != plain_history(first)


@pytest.mark.parametrize("sparsifier", ["top-kast", "spartan", "magnitude"])
def test_a_sparse_training_gives_the_memories_that_it_judged(files, tmp_path, sparsifier):
    # In fp32, as the model is asked below.
    settings = replace(LEARNS, memory_sparsity=0.5, sparsifier=sparsifier, arithmetic="fp32")
    whole = quick(files, tmp_path / "whole.pt", settings=settings)
    model = load_model(tmp_path / "whole.pt")
    for memory in model.module.memories():
        assert [float((each == 0).float().mean()) for each in (memory.keys, memory.values)] == [0.5, 0.5]
    assert accuracy_on(model, files[2]) == whole.best["accuracy"]


def accuracy_on(model, data) -> float:
    encoder, examples = model.text_encoder(40), list(read_examples(data))
    right = 0
    for example in examples:
        ids = torch.tensor([encoder.encode(example.text).ids])
        with torch.no_grad():
            right += model.labels[int(model.module(ids, torch.ones_like(ids)).argmax())] == example.label
    return right / len(examples)


def test_without_resume_training_starts_anew(files, tmp_path):
    def interrupt(line):
        raise KeyboardInterrupt

    settings = TrainSettings(epochs=1, batch_size=8)
    with pytest.raises(KeyboardInterrupt):
        quick(files, tmp_path / "cut.pt", settings=settings, report=interrupt)
    lines = []
    quick(files, tmp_path / "cut.pt", settings=settings, report=lines.append)
    assert not any(line.startswith("going on") for line in lines)


def test_learning_rate_scales_all_groups():
    settings = TrainSettings().changed(learning_rate=2 * TrainSettings().lr)
    assert settings.norm_lr == pytest.approx(2 * TrainSettings().norm_lr)
    assert settings.head_lr == pytest.approx(2 * TrainSettings().head_lr)
    assert settings.batch_size == TrainSettings().batch_size


def test_two_sentences_mark_their_segments(files, tmp_path):
    data = write_examples(tmp_path / "pairs.jsonl", sentiment(48, 1, pairs=True))
    quick((files[0], data, data), tmp_path / "model.pt", settings=TrainSettings(epochs=1, batch_size=8))
    model = load_model(tmp_path / "model.pt")
    assert model.module.segment_separator == 3
    assert model.eval_examples[0].text_pair


def test_regression_scores_are_on_the_labels_scale(files, tmp_path):
    data = write_examples(tmp_path / "scores.jsonl", sentiment(256, 1, scores=True))
    result = quick((files[0], data, data), tmp_path / "model.pt", settings=LEARNS)
    assert result.problem == "regression"
    assert result.best["correlation"] > 0.9
    assert result.metric == "r2" and result.learned is True
    assert result.best["rmse"] ** 2 == pytest.approx((1 - result.best["r2"]) * result.details["targets"]["std"] ** 2)
    model = load_model(tmp_path / "model.pt")
    assert model.labels == ()
    encoder = model.text_encoder(40)
    scores = {}
    for word in ("great", "dull"):
        ids = torch.tensor([encoder.encode(f"this film was {word}").ids])
        scores[word] = model.module(ids, torch.ones_like(ids)).item()
    assert scores["great"] == pytest.approx(60.5, abs=3)
    assert scores["dull"] == pytest.approx(50.5, abs=3)


def test_no_samples_first_layers_and_starting_from_a_model(files, tmp_path):
    settings = TrainSettings(epochs=1, batch_size=8)
    quick(files, tmp_path / "a.pt", settings=settings, layers=1)
    quick(files, tmp_path / "b.pt", settings=settings, layers=1, init_from=tmp_path / "a.pt", samples=False)
    model = load_model(tmp_path / "b.pt")
    assert model.eval_examples == ()
    assert len(model.module.memories()) == 1
    with pytest.raises(SpartancError, match="does not fit"):
        quick(files, tmp_path / "c.pt", settings=settings, init_from=tmp_path / "a.pt")


def test_a_directory_of_the_original_is_started_from_and_learned_from(files, tmp_path):
    original = tmp_path / "original"
    shutil.copytree(GOLDEN, original)
    (original / "tokenizer.json").write_text(tiny_tokenizer(like_roberta=True))
    source = load_model(original)
    rows = [{**row, "label": f"LABEL_{index % 3}"} for index, row in enumerate(sentiment(30, 5))]
    data = write_examples(tmp_path / "three.jsonl", rows)
    for name in ("init_from", "teacher"):
        quick((original, data, None), tmp_path / f"{name}.pt", spartan=source.spartan, **{name: original})
        assert load_model(tmp_path / f"{name}.pt").training[name] == model_digest(original)
    for part in ("config.json", "tokenizer.json"):
        before = model_digest(original)
        (original / part).write_text((original / part).read_text() + " ")
        assert model_digest(original) != before


def test_language_models_directory_is_an_encoder_too(files, tmp_path):
    encoder = write_encoder(tmp_path / "masked", BertForMaskedLM)
    quick((encoder, *files[1:]), tmp_path / "model.pt", settings=TrainSettings(epochs=1, batch_size=8))
    assert load_model(tmp_path / "model.pt").labels == ("negative", "positive")


def test_load_balancing_loss_is_one_at_equal_use():
    mask = torch.tensor([[1, 1, 1, 0]])
    equal = torch.full((1, 4, 8), 1 / 8)
    one = torch.nn.functional.one_hot(torch.zeros(1, 4, dtype=torch.long), 8).float()
    assert load_balancing_loss([equal], mask) == pytest.approx(1.0)
    assert load_balancing_loss([one], mask) == pytest.approx(8.0)
    padding_only = equal.clone()
    padding_only[0, 3] = one[0, 3]
    assert load_balancing_loss([padding_only, padding_only], mask) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"text": "a", "label": "x"}\n{"text": "b"}\n', "line 2: no `label`"),
        ('{"text": "a", "label": "x"}\n{"text": "b", "label": "x"}\n', "one label only: `x`"),
        ('{"text": "a", "label": "x"}\n{"text"\n', "line 2: not a JSON object"),
    ],
)
def test_wrong_training_data(files, tmp_path, content, said):
    (tmp_path / "wrong.jsonl").write_text(content)
    with pytest.raises(SpartancError, match=said) as caught:
        quick((files[0], tmp_path / "wrong.jsonl", files[2]), tmp_path / "model.pt")
    assert caught.value.exit_code == 2
    assert not any(path.name.startswith((".model", "model")) for path in tmp_path.iterdir())


def test_evaluation_label_that_training_lacks(files, tmp_path):
    write_examples(tmp_path / "wrong.jsonl", [{"text": "a", "label": "positive"}, {"text": "a", "label": "other"}])
    with pytest.raises(SpartancError, match="line 2: label `other` is not one of the model's"):
        quick((*files[:2], tmp_path / "wrong.jsonl"), tmp_path / "model.pt")


def test_wrong_encoders(files, tmp_path):
    def fails(encoder, code, said, **options):
        with pytest.raises(SpartancError, match=said) as caught:
            quick((encoder, *files[1:]), tmp_path / "model.pt", **options)
        assert caught.value.exit_code == code

    fails(tmp_path / "none", 2, "no encoder at")
    fails(files[0], 2, "cannot keep `3` layers", layers=3)
    config = (files[0] / "config.json").read_text()
    (files[0] / "config.json").write_text(config.replace('"bert"', '"t5"'))
    fails(files[0], 3, "`t5` is not supported")
    (files[0] / "config.json").write_text(config.replace('"hidden_size": 32', '"hidden_size": 64'))
    fails(files[0], 2, "has shape")
    (files[0] / "config.json").write_text(config.replace('"num_hidden_layers": 2', '"num_hidden_layers": 3'))
    fails(files[0], 2, "lacks tensors")
    (files[0] / "config.json").write_text(config)
    (files[0] / "tokenizer.json").unlink()
    fails(files[0], 2, "no tokenizer")


@pytest.mark.parametrize("values", [{"epochs": 0}, {"lr": -1.0}, {"warmup": 2.0}, {"lr": float("nan")}])
def test_wrong_settings_are_named(values):
    with pytest.raises(SpartancError, match=next(iter(values))):
        TrainSettings(**values)


def test_backbone_gets_no_gradient(files):
    module = build_classifier(load_backbone(files[0]), MEMORY, 2, pairs=False)
    wrapped = TrainingModule(module, CLASSIFICATION, 0.01, dropout=False).train()
    parameter_groups(wrapped, TrainSettings())
    ids = torch.randint(4, 40, (2, 6))
    wrapped(ids, torch.ones_like(ids), torch.tensor([0, 1]))["loss"].backward()
    task = set(module.task_names())
    for name, parameter in module.named_parameters():
        assert (parameter.grad is not None) == (name in task), name
