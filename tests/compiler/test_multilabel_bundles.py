"""Texts of several labels, end to end: one bundle, and one task of a fleet beside others, through every way to ask."""

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

import spartanc
from spartanc.compiler.parity import Reference
from spartanc.models.checkpoint import load_model, save_model
from spartanc.runtime_py.build import COMMAND, build_runtime
from spartanc.runtime_py.bundle import open_bundle
from spartanc.runtime_py.data import Example
from spartanc.runtime_py.task_file import open_task
from spartanc.runtime_py.task_types.multilabel import MULTILABEL
from support.cli import spartanc as command
from support.cli import spartanc_json
from support.compiled import MAX_LENGTH, eager_of
from support.fleets import TEXTS, on_backbone_of, save_tasks
from support.models import tiny_model

GOLDEN = Path(__file__).parents[1] / "golden"
LABELS = ("kind", "loud", "new", "old")


def several(first=None):
    """A model whose thresholds tell texts apart: between the scores of two texts, and the first text has no label."""
    model = tiny_model("bert", labels=LABELS, problem="multilabel", thresholds=(0.5,) * 4, seed=5)
    model = model if first is None else on_backbone_of(first, model)
    thresholds = []
    for own, *others in zip(
        *(1 / (1 + np.exp(-eager_of(model, text).astype(np.float64))) for text in TEXTS), strict=True
    ):
        above = min((score for score in others if score > own), default=1.0)
        thresholds.append(float(own + above) / 2)
    examples = tuple(Example(text, label=("kind", "old") if i % 2 else ()) for i, text in enumerate(TEXTS))
    return replace(model, thresholds=tuple(thresholds), eval_examples=examples)


def expected(model, text):
    scores = 1 / (1 + np.exp(-eager_of(model, text).astype(np.float64)))
    given = [label for label, score, least in zip(LABELS, scores, model.thresholds, strict=True) if score > least]
    return given, dict(zip(LABELS, scores, strict=True))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """(the model, its file, its bundle, a fleet of it and a classification)"""
    folder = tmp_path_factory.mktemp("several")
    first = tiny_model("bert")
    first.eval_examples = tuple(Example(text) for text in TEXTS)
    model = several(first)
    paths = save_tasks({"several": model, "one": first}, folder)
    common = ("--target", "host", "--max-length", MAX_LENGTH, "--quantize", "none")
    spartanc_json("compile", paths["several"], *common, "--out", folder / "bundle")
    spartanc_json("compile", paths["one"], *common, "--out", folder / "fleet", "--shared-backbone")
    spartanc_json("add-task", folder / "fleet", paths["several"])
    return model, paths["several"], folder / "bundle", folder / "fleet"


def test_the_texts_tell_thresholds_apart(made):
    found = [tuple(expected(made[0], text)[0]) for text in TEXTS]
    assert len(set(found)) > 2 and any(len(each) > 1 for each in found)
    assert found != [
        tuple(np.array(LABELS)[np.array(list(expected(made[0], text)[1].values())) > 0.5]) for text in TEXTS
    ]


def test_bundle_and_task_say_labels_and_thresholds(made):
    model, _, bundle, fleet = made
    manifest = open_bundle(bundle).manifest
    assert manifest["problem"] == "multilabel" and manifest["thresholds"] == list(model.thresholds)
    task = open_task(fleet / "tasks" / "several.safetensors")
    assert task.task_type == MULTILABEL.with_thresholds(model.thresholds, LABELS) and task.labels == LABELS
    assert manifest["parity"]["label_agreement"] == 1


def test_run_gives_the_labels_above_their_thresholds_and_all_scores(made):
    model, _, bundle, fleet = made
    for text in TEXTS:
        given, scores = expected(model, text)
        single = spartanc_json("run", bundle, "--text", text)[0]
        assert single["labels"] == given and single["label"] is None
        assert single["scores"] == pytest.approx(scores, abs=1e-4)
        shared = spartanc_json("run", fleet, "--task", "several", "--text", text)[0]
        assert shared["labels"] == given
    assert "labels" not in spartanc_json("run", fleet, "--task", "one", "--text", TEXTS[0])[0]
    assert expected(model, TEXTS[0])[0] == []
    shown = command("run", bundle, "--text", TEXTS[0])
    assert shown.exit_code == 0 and "none" in shown.stdout and "labels" in shown.stdout


def test_python_answers_alike_and_tasks_of_both_kinds_in_one_call(made):
    model, _, bundle, fleet = made
    with spartanc.load(bundle) as loaded:
        found = loaded.classify(list(TEXTS))
    for text, each in zip(TEXTS, found, strict=True):
        given, scores = expected(model, text)
        assert each.labels == tuple(given) and each.label is None
        assert each.score == max(each.scores.values()) == pytest.approx(max(scores.values()), abs=1e-4)
        assert each.as_json()["labels"] == given
    with spartanc.load(fleet) as loaded:
        one, other = loaded.classify([TEXTS[0], TEXTS[1]], task=["one", "several"])
    assert one.labels is None and one.label and other.labels == tuple(expected(model, TEXTS[1])[0])


def test_the_native_command_answers_alike(made, tmp_path):
    model, _, bundle, fleet = made
    encoder = model.text_encoder(MAX_LENGTH)
    for text in TEXTS:
        ids = np.array([encoder.encode(text).ids], np.int64)
        save_file({"input_ids": ids, "attention_mask": np.ones_like(ids)}, tmp_path / "ids.safetensors")
        for words in ([bundle], [fleet, "--task", "several"]):
            done = subprocess.run(
                [build_runtime("host") / COMMAND, "run", *map(str, words), "--ids", tmp_path / "ids.safetensors"],
                capture_output=True,
                text=True,
                check=True,
            )
            given, scores = expected(model, text)
            found = json.loads(done.stdout)
            assert found["labels"] == given
            assert found["scores"] == pytest.approx(list(scores.values()), abs=1e-4)
            assert len(found["logits"]) == 4


def rows(path, *given):
    path.write_text("".join(json.dumps({"text": text, "labels": labels}) + "\n" for text, labels in given))
    return path


def test_verify_reports_both_f1_and_gates_hold(made, tmp_path):
    model, path, bundle, _ = made
    data = rows(tmp_path / "d.jsonl", *[(text, expected(model, text)[0]) for text in TEXTS])
    found = spartanc_json("verify", bundle, "--model", path, "--data", data)
    assert found["passed"] and found["label_agreement"] == 1
    for side in ("eager", "device"):
        assert found[f"macro_f1_{side}"] == found[f"micro_f1_{side}"] == found[f"exact_match_{side}"] == 1
    assert "accuracy_eager" not in found or found["accuracy_eager"] is None
    assert set(found["classes"]) <= set(LABELS)
    assert command("verify", bundle, "--model", path, "--data", data).exit_code == 0


@pytest.mark.long
def test_stages_are_measured_by_macro_f1(made, tmp_path):
    model, path, bundle, _ = made
    data = rows(tmp_path / "d.jsonl", *[(text, expected(model, text)[0]) for text in TEXTS])
    staged = spartanc_json("verify", bundle, "--model", path, "--data", data, "--stages")
    assert [each["macro_f1"] for each in staged["stages"]] == [1] * len(staged["stages"])
    assert "macro_f1" in command("verify", bundle, "--model", path, "--data", data, "--stages").stdout


def test_rows_have_their_say_and_unknown_labels_their_line(made, tmp_path):
    _, path, bundle, _ = made
    data = rows(tmp_path / "d.jsonl", (TEXTS[0], []), (TEXTS[1], ["kind", "kinder"]), (TEXTS[2], ["old", "new"]))
    answered = command("run", bundle, "--data", data, "--out", tmp_path / "out.csv")
    assert answered.exit_code == 0
    assert "macro_f1" in answered.stderr and "on 2 labelled rows" in answered.stderr
    assert "1 of 3 labels are none of the model's" in answered.stderr
    assert (
        (tmp_path / "out.csv").read_text().splitlines()[0].startswith("text,label,expected,truncated,score,score kind")
    )
    refused = command("verify", bundle, "--model", path, "--data", data)
    assert refused.exit_code == 2 and "line 2: label `kinder` is not one of the model's" in refused.stderr


@pytest.mark.long
def test_int8_passes_its_gates_too(made, tmp_path):
    """Noise may not decide: thresholds stand in the middle between two texts' scores."""
    _, path, _, _ = made
    found = spartanc_json("compile", path, "--target", "host", "--max-length", MAX_LENGTH, "--quantize", "int8",
                          "--out", tmp_path / "int8")  # fmt: skip
    assert found["parity"]["classes"] and "exact" not in found["parity"]


def test_a_label_more_counts_against_its_class_and_no_other():
    eager = np.array([[3.0, -3.0, 3.0]] * 40 + [[-3.0, -3.0, -3.0]] * 60)
    got = eager.copy()
    got[40:50, 1] = 3.0  # one label more
    parity = Reference(eager, MULTILABEL, ("a", "b", "c")).compare(list(got))
    assert parity.labels.agreeing == 90
    assert {name: (each.agreeing, each.texts) for name, each in parity.classes} == {
        "a": (40, 40), "b": (0, 10), "c": (40, 40)
    }  # fmt: skip


@pytest.mark.long
def test_a_task_of_one_label_is_given_or_not(tmp_path):
    model = tiny_model("bert", labels=("kind",), problem="multilabel", thresholds=(0.5,), seed=3)
    scores = [1 / (1 + np.exp(-float(eager_of(model, text)[0]))) for text in TEXTS]
    model = replace(model, thresholds=(float(np.mean(scores)),), eval_examples=tuple(map(Example, TEXTS)))
    save_model(model, tmp_path / "m.pt")
    assert load_model(tmp_path / "m.pt").task_type.outputs(("kind",)) == 1
    spartanc_json("compile", tmp_path / "m.pt", "--target", "host", "--max-length", MAX_LENGTH, "--quantize", "none",
                  "--out", tmp_path / "b")  # fmt: skip
    with spartanc.load(tmp_path / "b") as loaded:
        found = loaded.classify(list(TEXTS))
    assert [each.labels for each in found] == [("kind",) if score > np.mean(scores) else () for score in scores]
    assert len({each.labels for each in found}) == 2 and all(each.scores for each in found)


def test_a_checkpoint_of_the_original_format_decides_by_a_half(tmp_path):
    folder = shutil.copytree(GOLDEN / "roberta-v2-all-parents", tmp_path / "checkpoint")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"problem_type": "multi_label_classification"}))
    model = load_model(folder)
    assert model.problem == "multilabel" and model.labels
    assert model.thresholds == (0.5,) * len(model.labels)
