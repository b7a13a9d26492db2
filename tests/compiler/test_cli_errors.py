"""Wrong input to `spartanc compile` ends in one clear error with its exit code, and leaves no file behind."""

import json
import os
import shutil
import zipfile
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save_file

from spartanc.compiler.cli import main
from spartanc.models.checkpoint import save_model
from support.models import tiny_model

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.pt"
    save_model(tiny_model(), path)
    return path


def refused(tmp_path: Path, model: Path, code: int, *words: str, options: tuple[str, ...] = ()) -> str:
    """Run compile; assert its exit code, one error with `words`, and that nothing new stands in `tmp_path`."""
    before = sorted(os.listdir(tmp_path))
    out = tmp_path / "out"
    arguments = ["compile", str(model), "--out", str(out), *options]
    if "--target" not in options:
        arguments += ["--target", "host"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == code, (result.exit_code, result.stderr, result.exception)
    assert result.stderr.count("error: ") == 1
    assert "Traceback" not in result.stderr
    assert result.stdout == ""
    for word in words:
        assert word in result.stderr
    assert sorted(os.listdir(tmp_path)) == before
    return result.stderr


def changed(tmp_path: Path, model_file: Path, change) -> Path:
    content = torch.load(model_file, weights_only=True)
    change(content)
    torch.save(content, tmp_path / "changed.pt")
    return tmp_path / "changed.pt"


def golden(tmp_path: Path, name: str = "roberta-v2-post-ln", **config) -> Path:
    directory = tmp_path / "checkpoint"
    shutil.copytree(GOLDEN / name, directory)
    path = directory / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | config))
    return directory


def test_a_missing_file(tmp_path):
    refused(tmp_path, tmp_path / "absent.pt", 2, "absent.pt")


def test_an_empty_file(tmp_path):
    (tmp_path / "empty.pt").touch()
    refused(tmp_path, tmp_path / "empty.pt", 2, "empty")


def test_a_truncated_archive(tmp_path, model_file):
    data = model_file.read_bytes()
    (tmp_path / "half.pt").write_bytes(data[: len(data) // 2])
    refused(tmp_path, tmp_path / "half.pt", 2, "half.pt")


def test_a_corrupt_archive(tmp_path, model_file):
    with zipfile.ZipFile(model_file) as source, zipfile.ZipFile(tmp_path / "bad.pt", "w") as target:
        for name in source.namelist():
            data = source.read(name)
            target.writestr(name, b"\x80garbage" if name.endswith("data.pkl") else data)
    refused(tmp_path, tmp_path / "bad.pt", 2, "bad.pt")


class Payload:
    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (str(self.path),))


def test_a_pickle_that_would_run_code_does_not_run(tmp_path):
    trace = tmp_path / "ran"
    torch.save({"format": "spartanc-model", "state": Payload(trace)}, tmp_path / "evil.pt")
    refused(tmp_path, tmp_path / "evil.pt", 2, "evil.pt", "hint:")
    assert not trace.exists()


def test_missing_tensors(tmp_path, model_file):
    def drop(content):
        content["state"].pop(sorted(content["state"])[0])

    refused(tmp_path, changed(tmp_path, model_file, drop), 2, "missing")


def test_tensors_too_many(tmp_path, model_file):
    def add(content):
        content["state"]["surplus"] = torch.zeros(2)

    refused(tmp_path, changed(tmp_path, model_file, add), 2, "surplus")


def test_shapes_that_disagree(tmp_path, model_file):
    def widen(content):
        name = sorted(content["state"])[0]
        content["state"][name] = torch.zeros(*content["state"][name].shape, 2)

    refused(tmp_path, changed(tmp_path, model_file, widen), 2, "shape")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite(tmp_path, model_file, value):
    def spoil(content):
        name = next(name for name in content["state"] if content["state"][name].dim() == 2)
        content["state"][name][0, 0] = value

    refused(tmp_path, changed(tmp_path, model_file, spoil), 2, "NaN or infinite")


def test_cells_that_do_not_divide_among_parents(tmp_path):
    refused(tmp_path, golden(tmp_path, spartan_no_of_experts=7), 2, "7 parents")


def test_more_chosen_than_there_are(tmp_path):
    refused(tmp_path, golden(tmp_path, spartan_top_k_experts=9), 2, "9")


def test_keys_missing_in_an_original_checkpoint(tmp_path):
    directory = golden(tmp_path)
    tensors = load_file(directory / "model.safetensors")
    tensors.pop(next(name for name in tensors if "sparse_spartan_value" in name))
    save_file(tensors, directory / "model.safetensors")
    refused(tmp_path, directory, 2)


def test_an_unknown_architecture(tmp_path):
    refused(tmp_path, golden(tmp_path, model_type="gpt2"), 3, "gpt2")


def test_an_unknown_target(tmp_path, model_file):
    refused(tmp_path, model_file, 5, "nokia3310", "rpi4", options=("--target", "nokia3310"))


def test_an_unknown_quantisation(tmp_path, model_file):
    refused(tmp_path, model_file, 2, "int7", "int8", options=("--quantize", "int7"))


def test_a_length_that_is_none(tmp_path, model_file):
    refused(tmp_path, model_file, 2, "--max-length", options=("--max-length", "0"))


def test_several_models_without_a_shared_backbone(tmp_path, model_file):
    refused(tmp_path, model_file, 2, "--shared-backbone", options=(str(model_file),))


def test_a_malformed_data_line_is_named(tmp_path, model_file):
    (tmp_path / "rows.jsonl").write_text('{"text": "fine", "label": "a"}\n{"text": \n')
    refused(tmp_path, model_file, 2, "rows.jsonl", "2", options=("--data", str(tmp_path / "rows.jsonl")))


def test_a_label_that_the_model_does_not_know(tmp_path, model_file):
    (tmp_path / "rows.jsonl").write_text('{"text": "fine", "label": "unheard of"}\n')
    refused(tmp_path, model_file, 2, "unheard of", options=("--data", str(tmp_path / "rows.jsonl")))


def test_an_output_that_is_not_empty(tmp_path, model_file):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("keep")
    refused(tmp_path, model_file, 2, "not empty")
    assert (tmp_path / "out" / "mine").read_text() == "keep"
