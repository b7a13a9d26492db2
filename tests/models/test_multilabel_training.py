"""Training on texts of several labels: what is learned, what the model keeps, and what is refused."""

import random
from dataclasses import replace

import numpy as np
import pytest
import torch

from spartanc.errors import GateError, UsageError
from spartanc.models.checkpoint import load_model, save_model
from spartanc.models.holdout import hold_out
from spartanc.models.learning import judge_learning
from spartanc.models.losses import loss_of
from spartanc.models.memory import SpartanConfig
from spartanc.models.settings import TrainRequest, TrainSettings
from spartanc.models.teacher import TEMPERATURE, distance
from spartanc.models.topics import topics
from spartanc.models.training import train
from spartanc.runtime_py.data import Columns, Example, read_examples
from spartanc.runtime_py.task_types.decision import decide_task
from spartanc.runtime_py.task_types.multilabel import MULTILABEL
from support.encoders import FILLER, write_encoder, write_examples
from support.models import tiny_model

MEMORY = SpartanConfig(parents=4, cells=8, top_k=2)
PLACES, MOODS = ("city", "river", "mountain"), ("good", "great", "loved")


def of_two_labels(count, seed, rare=0.3):
    """A word of a place and a word of praise, each in some rows: one, the other, both or neither."""
    draw = random.Random(seed)
    for _ in range(count):
        labels = [name for name, share in (("place", rare), ("praise", 0.5)) if draw.random() < share]
        words = draw.sample(FILLER, 4)
        words += [draw.choice(PLACES)] * ("place" in labels) + [draw.choice(MOODS)] * ("praise" in labels)
        draw.shuffle(words)
        yield {"text": " ".join(words), "labels": labels}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """(folder, result of the training, lines that it said)"""
    folder, lines = tmp_path_factory.mktemp("trained"), []
    torch.set_num_threads(1)
    write_encoder(folder / "encoder")
    write_examples(folder / "train.jsonl", of_two_labels(200, 1))
    write_examples(folder / "dev.jsonl", of_two_labels(60, 2))
    request = TrainRequest(
        folder / "encoder",
        folder / "train.jsonl",
        folder / "dev.jsonl",
        folder / "model.pt",
        settings=TrainSettings(epochs=4, lr=0.03, norm_lr=0.03),
        spartan=MEMORY,
        adapt=False,
        html=folder / "page.html",
        require_learning=True,
    )
    return folder, train(request, lines.append), lines


def test_both_labels_are_learned_and_judged_each_by_itself(trained):
    _, result, lines = trained
    assert result.problem == "multilabel" and result.labels == ("place", "praise")
    assert lines[0].startswith("multilabel: 2 classes")
    assert result.metric == "macro_f1" and result.best["macro_f1"] > 0.75
    assert set(result.best) == {"macro_f1", "micro_f1", "exact_match"} <= set(result.history[0])
    assert result.learned is True and result.p_values["macro_f1"] < 0.01 and result.majority_accuracy is None
    classes = result.details["classes"]
    assert np.mean([each["f1"] for each in classes.values()]) == pytest.approx(result.best["macro_f1"])
    assert result.details["unlabelled"]["rows"] > 0


def test_the_model_keeps_thresholds_and_lists(trained):
    folder, result, _ = trained
    model = load_model(folder / "model.pt")
    assert list(model.thresholds) == [each["threshold"] for each in result.details["classes"].values()]
    assert model.task_type.thresholds == model.thresholds and model.task_type.several
    assert set(model.eval_examples) <= set(read_examples(folder / "dev.jsonl"))
    save_model(model, folder / "again.pt")
    again = load_model(folder / "again.pt")
    assert (again.thresholds, again.labels, again.eval_examples) == (
        model.thresholds,
        model.labels,
        model.eval_examples,
    )


def test_a_model_with_other_thresholds_than_labels_is_refused(tmp_path):
    model = tiny_model(problem="multilabel", labels=("a", "b"), thresholds=(0.5, 0.5))
    for wrong, said in (((0.5,), "1 thresholds for 2 labels"), ((0.5, 1.0), "a threshold is `1.0`")):
        with pytest.raises(UsageError, match=said):
            save_model(replace(model, thresholds=wrong), tmp_path / "model.pt")
    with pytest.raises(UsageError, match="a classification has no thresholds"):
        save_model(replace(model, problem="classification"), tmp_path / "model.pt")


def test_the_page_tells_thresholds_and_has_no_matrix(trained):
    page = (trained[0] / "page.html").read_text()
    assert "<th>threshold</th>" in page and "Confusion" not in page
    assert "place, praise" in page or "none" in page


def test_topics_count_a_text_for_each_of_its_labels(trained):
    folder, _, _ = trained
    found = topics(folder / "model.pt", folder / "dev.jsonl", folder / "topics.html", permutations=50)
    assert found["labels"] == ["place", "praise", "no label"]
    assert all(set(layer["load_by_label"]) == set(found["labels"]) for layer in found["layers"])


def test_the_loss_is_binary_cross_entropy_of_all_labels_of_a_row():
    logits, targets = torch.randn(5, 3), (torch.rand(5, 3) < 0.4).float()
    p = torch.sigmoid(logits)
    each = -(targets * p.log() + (1 - targets) * (1 - p).log())
    assert torch.allclose(loss_of(MULTILABEL, logits, targets), each.sum(1).mean())
    weights = torch.tensor([1.0, 2.0, 3.0])
    weighted = -(weights * targets * p.log() + (1 - targets) * (1 - p).log())
    assert torch.allclose(loss_of(MULTILABEL, logits, targets, weights), weighted.sum(1).mean())


def test_the_distance_to_a_teacher_is_the_divergence_of_every_label():
    logits, teacher = torch.randn(6, 3), torch.randn(6, 3)
    p, q = (torch.sigmoid(each / TEMPERATURE) for each in (teacher, logits))
    divergence = p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()
    expected = TEMPERATURE**2 * divergence.sum(1).mean()
    assert torch.allclose(distance(MULTILABEL, logits, teacher), expected, atol=1e-6)
    assert abs(float(distance(MULTILABEL, teacher, teacher))) < 1e-6


def test_noise_is_not_taken_for_learning():
    """In few of 40 draws, though thresholds are chosen on the very rows that are judged."""
    generator = np.random.default_rng(0)
    targets = generator.random((80, 4)) < [0.5, 0.3, 0.1, 0.05]
    learned = sum(
        judge_learning(MULTILABEL, generator.normal(size=(80, 4)), targets, "abcd").learned for _ in range(40)
    )
    assert learned <= 2
    told = judge_learning(MULTILABEL, 2.0 * targets + generator.normal(size=(80, 4)), targets, "abcd")
    assert told.learned and "by always all labels" in told.line


def test_every_label_gives_development_rows():
    rows = [Example(f"t{n}", label=("common", "rare") if n % 20 == 0 else ("common",)) for n in range(200)]
    train_rows, held = hold_out(rows, decide_task([*rows, Example("x", label=())], "f"), 0, "f")
    assert len(train_rows) + len(held) == 200
    assert sum("rare" in each.label for each in held) == 1 and len(held) == 20


def quick(folder, out, **options):
    options = {"settings": TrainSettings(epochs=0.2), "spartan": MEMORY, "adapt": False} | options
    data = options.pop("data", folder / "train.jsonl")
    return train(TrainRequest(folder / "encoder", data, options.pop("eval", None), out, **options), lambda line: None)


def test_rows_of_csv_train_with_a_separator_and_balanced_weights(trained, tmp_path):
    rows = [f"{each['text']},{'|'.join(each['labels'])}" for each in of_two_labels(60, 3)]
    data = tmp_path / "train.csv"
    data.write_text("\n".join(["text,label", *rows]))
    settings = TrainSettings(epochs=0.2, class_weights="balanced")
    result = quick(trained[0], tmp_path / "m.pt", data=data, columns=Columns(separator="|"), settings=settings)
    assert result.labels == ("place", "praise") and result.held_out


def test_a_label_of_the_development_rows_that_was_not_trained_is_named(trained, tmp_path):
    dev = write_examples(tmp_path / "dev.jsonl", [{"text": "a film", "labels": ["place", "plaice"]}])
    with pytest.raises(UsageError, match=r"dev.jsonl` line 1: label `plaice` is not one of the model's"):
        quick(trained[0], tmp_path / "m.pt", eval=dev)
    assert not (tmp_path / "m.pt").exists()


def test_what_learned_nothing_is_not_written_where_that_is_required(trained, tmp_path):
    draw = random.Random(4)
    rows = [row | {"labels": [name for name in "ab" if draw.random() < 0.3]} for row in of_two_labels(60, 4)]
    data = write_examples(tmp_path / "train.jsonl", rows)
    with pytest.raises(GateError, match="no better than the same answer to every text"):
        quick(trained[0], tmp_path / "m.pt", data=data, require_learning=True)
    assert not (tmp_path / "m.pt").exists()
