"""From a checkpoint to a proved bundle: all golden checkpoints on this machine and on an emulated Cortex-A72."""

from pathlib import Path

import numpy as np
import pytest

from spartanc.compiler.proof import compare, eager_logits
from spartanc.compiler.samples import read_ids, row
from spartanc.models.checkpoint import load_model, save_model
from spartanc.runtime_py.bundle import open_bundle
from spartanc.runtime_py.devices.stock import StockDevice
from support.cli import spartanc, spartanc_json
from support.models import tiny_model

GOLDEN = sorted(path.parent for path in (Path(__file__).parents[1] / "golden").glob("*/config.json"))
LAYERS = {"roberta-v1": 2, "roberta-v1-k1": 3, "roberta-v2-all-parents": 2, "roberta-v2-post-ln": 2}


@pytest.mark.qemu
@pytest.mark.parametrize("target", ["host", "rpi4"])
@pytest.mark.parametrize("checkpoint", GOLDEN, ids=lambda path: path.name)
def test_golden_checkpoint_compiles_and_agrees_with_what_the_original_computed(checkpoint, target, tmp_path):
    out = tmp_path / "bundle"
    compiled = spartanc_json(
        "compile", checkpoint, "--target", target, "--out", out, "--quantize", "none", "--max-length", 64
    )
    layers = LAYERS[checkpoint.name]
    lookups = {op: n for op, n in compiled["fallback_ops"].items() if op.startswith("spartan::memory_lookup")}
    assert compiled["fused_memories"] == sum(lookups.values()) == layers
    assert compiled["skipped"] == []
    problem = open_bundle(out).manifest["problem"]
    assert compiled["parity"]["label_agreement"] == (None if problem == "regression" else 1)
    assert 0 < compiled["parity"]["max_abs_diff"] < 1e-4
    assert compiled["files"].keys() == {
        *open_bundle(out).manifest["files"],
        "manifest.json",
        "manifest.sha256",
    }
    for device in ("local", "qemu") if target == "rpi4" else ("local",):
        found = spartanc_json("verify", out, "--expected", checkpoint / "expected.safetensors", "--device", device)
        assert found["passed"]
        assert found["emulated"] == (device == "qemu")
        assert found["max_abs_diff"] < 1e-4


@pytest.mark.parametrize("form", [("--lowering", "portable"), ("--format", "torchscript")], ids=lambda form: form[1])
@pytest.mark.parametrize("checkpoint", GOLDEN, ids=lambda path: path.name)
def test_golden_checkpoint_runs_where_nothing_of_ours_is(checkpoint, form, tmp_path):
    """In a process that has torch and executorch alone, at lengths from 1 to 64."""
    out = tmp_path / "bundle"
    compiled = spartanc_json("compile", checkpoint, "--target", "host", "--out", out, "--max-length", 64, *form)
    assert not [op for op in compiled["fallback_ops"] if op.startswith("spartan::")]
    assert spartanc_json("verify", out, "--expected", checkpoint / "expected.safetensors")["max_abs_diff"] < 1e-4
    model = load_model(checkpoint)
    vocabulary = model.encoder_config["vocab_size"]
    generator = np.random.default_rng(0)
    rows = [row(generator.integers(5, vocabulary, length)) for length in (1, 2, 3, 4, 5, 15, 16, 17, 31, 33, 63, 64)]
    recorded = read_ids(checkpoint / "expected.safetensors")
    bundle = open_bundle(out)
    expected = eager_logits(model.module, rows + recorded)
    assert np.ptp(np.stack(expected), axis=0).max() > 0.01
    parity = compare(expected, StockDevice().run(out, bundle.program, rows + recorded))
    assert parity.label_agreement == 1
    assert parity.max_abs_diff < 1e-4


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.pt"
    save_model(tiny_model("bert"), path)
    return path


@pytest.fixture(scope="module")
def bundle(model_file):
    out = model_file.parent / "bundle"
    spartanc_json("compile", model_file, "--target", "host", "--out", out, "--max-length", 16)
    return out


def test_run_gives_label_and_scores(bundle):
    (row,) = spartanc_json("run", bundle, "--text", "where is the card")
    assert row["text"] == "where is the card"
    assert row["label"] in ("a", "b", "c")
    assert row["label"] == max(row["scores"], key=row["scores"].get)
    assert sum(row["scores"].values()) == pytest.approx(1)


def test_run_takes_rows_of_a_file(bundle, tmp_path):
    (tmp_path / "rows.csv").write_text("text,label\nwhere is it,a\nwhen will it arrive,b\n")
    rows = spartanc_json("run", bundle, "--data", tmp_path / "rows.csv")
    assert [row["text"] for row in rows] == ["where is it", "when will it arrive"]


def test_verify_counts_truncated_texts_and_accuracy(bundle, model_file, tmp_path):
    long = "where is the card " * 10
    (tmp_path / "rows.jsonl").write_text(f'{{"text": "{long}", "label": "a"}}\n{{"text": "a film", "label": "b"}}\n')
    found = spartanc_json("verify", bundle, "--model", model_file, "--data", tmp_path / "rows.jsonl")
    assert found["passed"]
    assert found["samples"] == 2
    assert found["truncated"] == 1
    assert found["accuracy_eager"] == found["accuracy_device"]
    assert found["worst"][0]["text"] is not None


def test_verify_against_another_model_ends_in_6(bundle, tmp_path):
    other = tmp_path / "other.pt"
    save_model(tiny_model("bert", seed=1), other)
    (tmp_path / "rows.jsonl").write_text('{"text": "a film", "label": "b"}\n')
    result = spartanc("verify", bundle, "--model", other, "--data", tmp_path / "rows.jsonl")
    assert result.exit_code == 6
    assert "missed its gates" in result.stderr


def test_an_altered_bundle_is_refused_before_any_other_complaint(bundle, tmp_path):
    import shutil

    altered = tmp_path / "altered"
    shutil.copytree(bundle, altered)
    data = bytearray((altered / "model.pte").read_bytes())
    data[len(data) // 2] ^= 1
    (altered / "model.pte").write_bytes(data)
    result = spartanc("run", altered, "--data", tmp_path / "absent.jsonl")
    assert result.exit_code == 2
    assert "model.pte" in result.stderr


def test_inspect_shows_bundle_and_model(bundle, model_file):
    assert spartanc_json("inspect", bundle)["memory"]["parents"] == 4
    assert spartanc_json("inspect", model_file)["task_parameters"] > 0


def test_targets_and_doctor_answer_in_json():
    assert {"host", "rpi3", "rpi4", "rpi5", "android-arm64"} <= {row["name"] for row in spartanc_json("targets")}
    assert {check["name"] for check in spartanc_json("doctor")["checks"]} >= {"torch", "g++", "target host"}


@pytest.mark.parametrize(
    "options",
    [
        ("--lowering", "portable"),
        ("--format", "torchscript"),
        ("--quantize", "int8"),
        ("--quantize", "int4"),
        ("--quantize", "int4-memories"),
    ],
)
def test_every_form_compiles_and_answers(model_file, tmp_path, options):
    out = tmp_path / "bundle"
    compiled = spartanc_json("compile", model_file, "--target", "host", "--out", out, "--max-length", 16, *options)
    ours = [op for op in compiled["fallback_ops"] if op.startswith("spartan::")]
    assert bool(ours) == (options[0] == "--quantize")
    assert spartanc_json("run", out, "--text", "where is the card")[0]["label"] in ("a", "b", "c")
