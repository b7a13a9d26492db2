"""Checkpoints: what is written is read again, and what is wrong ends in one clear error."""

import json
import os
import pickle
import shutil
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from spartanc.errors import SpartancError, UsageError
from spartanc.models.checkpoint import load_model, save_model
from spartanc.models.encoders.registry import ADAPTERS
from spartanc.models.memory import SpartanConfig
from spartanc.runtime_py.data import Example
from support.models import ARCHITECTURES, tiny_model

GOLDEN = Path(__file__).parents[1] / "golden"


def assert_fails(path, code, *said):
    with pytest.raises(SpartancError) as caught:
        load_model(path)
    assert caught.value.exit_code == code
    for part in said:
        assert part in str(caught.value)


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "model.pt"
    save_model(tiny_model(), path)
    return path


@pytest.fixture
def original(tmp_path):
    return Path(shutil.copytree(GOLDEN / "roberta-v2-post-ln", tmp_path / "original"))


def edit_saved(path, change):
    content = torch.load(path, weights_only=True)
    change(content)
    torch.save(content, path)


def edit_config(directory, **values):
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps(config | values))


def edit_tensors(directory, change):
    tensors = load_file(directory / "model.safetensors")
    change(tensors)
    save_file(tensors, directory / "model.safetensors")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_saved_model_loads_equal(architecture, tmp_path):
    layer_norm = "none" if ADAPTERS[architecture].norm_comes_first else "post"
    model = tiny_model(architecture, spartan=SpartanConfig(4, 8, 3, 0.7, layer_norm))
    model.eval_examples = (Example("where is my card", None, "a"), Example("a good film", "bad", "c"))
    model.training = {"epochs": 3}
    save_model(model, tmp_path / "model.pt")
    loaded = load_model(tmp_path / "model.pt")
    assert [path.name for path in tmp_path.iterdir()] == ["model.pt"]
    assert loaded.spartan == model.spartan
    assert loaded.labels == model.labels
    assert loaded.problem == model.problem
    assert loaded.tokenizer == model.tokenizer
    assert loaded.eval_examples == model.eval_examples
    assert loaded.training == model.training
    assert loaded.module.segment_separator == model.module.segment_separator
    assert not loaded.module.training
    ids = torch.randint(4, 60, (2, 9), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    with torch.no_grad():
        assert torch.equal(loaded.module(ids, mask), model.module(ids, mask))


def test_regression_has_no_labels(tmp_path):
    save_model(tiny_model(problem="regression"), tmp_path / "model.pt")
    loaded = load_model(tmp_path / "model.pt")
    assert loaded.labels == ()
    assert loaded.problem == "regression"


def test_model_file_is_loadable_without_importing_anything(saved):
    content = torch.load(saved, weights_only=True)
    assert content["format"] == "spartanc-model"
    assert content["version"] == 1

    def plain(value):
        if isinstance(value, dict):
            return all(isinstance(key, str) and plain(item) for key, item in value.items())
        if isinstance(value, list):
            return all(plain(item) for item in value)
        return value is None or type(value) in (str, int, float, bool, torch.Tensor)

    assert plain(content)


def test_half_precision_weights_become_float32(saved):
    edit_saved(
        saved,
        lambda content: content["state"].update({name: value.half() for name, value in content["state"].items()}),
    )
    assert {value.dtype for value in load_model(saved).module.state_dict().values()} == {torch.float32}


def test_missing_and_empty_files(tmp_path):
    assert_fails(tmp_path / "none.pt", 2, "no model at", "none.pt")
    (tmp_path / "empty.pt").touch()
    assert_fails(tmp_path / "empty.pt", 2, "is empty")
    (tmp_path / "directory").mkdir()
    assert_fails(tmp_path / "directory", 2, "config.json")


@pytest.mark.parametrize("keep", [1, 100, 5000, -1, -200])
def test_truncated_archive(saved, keep):
    saved.write_bytes(saved.read_bytes()[:keep])
    assert_fails(saved, 2, "not a readable file of weights", str(saved))


def test_text_instead_of_a_model(tmp_path):
    (tmp_path / "model.pt").write_text("This is not a model.\n" * 50)
    assert_fails(tmp_path / "model.pt", 2, "not a readable file of weights")


def test_every_corrupt_byte_is_refused_or_harmless(saved):
    whole = saved.read_bytes()
    expected = load_model(saved).module.state_dict()
    positions = torch.randint(0, len(whole), (40,), generator=torch.Generator().manual_seed(0)).tolist()
    codes = set()
    for position in positions:
        saved.write_bytes(whole[:position] + bytes([whole[position] ^ 0xFF]) + whole[position + 1 :])
        try:
            assert set(load_model(saved).module.state_dict()) == set(expected)
        except SpartancError as error:
            codes.add(error.exit_code)
    assert codes <= {2, 3}


class RunsCode:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return (os.mkdir, (str(self.marker),))


@pytest.mark.parametrize("how", ["pickle", "archive", "inside"])
def test_pickle_that_would_run_code_does_not_run(tmp_path, saved, how):
    marker = tmp_path / "ran"
    if how == "pickle":
        saved.write_bytes(pickle.dumps(RunsCode(marker)))
    elif how == "archive":
        torch.save(RunsCode(marker), saved)
    else:
        content = torch.load(saved, weights_only=True)
        content["training"] = {"x": RunsCode(marker)}
        torch.save(content, saved)
    assert_fails(saved, 2, "not a readable file of weights", "never loaded")
    assert not marker.exists()


def test_pickle_that_would_run_code_in_an_original_directory(tmp_path):
    directory = Path(shutil.copytree(GOLDEN / "roberta-v1", tmp_path / "original"))
    marker = tmp_path / "ran"
    torch.save({"weight": RunsCode(marker)}, directory / "pytorch_model.bin")
    assert_fails(directory, 2, "not a readable file of weights")
    assert not marker.exists()


def set_spartan(**values):
    return lambda content: content["spartan"].update(values)


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        (lambda content: content.update(format="other"), 2, "not a spartanc-model file"),
        (lambda content: content.update(version=99), 2, "version `99`, expected `1`"),
        (lambda content: content.pop("labels"), 2, "lacks `labels`"),
        (lambda content: content.update(labels="abc"), 2, "`labels` is of type `str`"),
        (lambda content: content.update(more=1), 2, "unknown entries: `more`"),
        (lambda content: content.update(labels=["a", "b"]), 2, "3 outputs for classification with 2 labels"),
        (lambda content: content.update(labels=["a", "b", "a"]), 2, "the same label"),
        (lambda content: content.update(problem="ranking"), 2, "`ranking`"),
        (lambda content: content.update(problem="regression"), 2, "3 outputs for regression"),
        (lambda content: content.update(tokenizer="{}"), 2, "malformed tokenizer"),
        (lambda content: content.update(segment_separator="x"), 2, "`segment_separator` is of type `str`"),
        (lambda content: content.update(eval_examples=[{"label": "a"}]), 2, "has no text"),
        (lambda content: content["encoder_config"].update(model_type="gpt2"), 3, "`gpt2` is not supported"),
        (lambda content: content["encoder_config"].pop("model_type"), 3, "no `model_type`"),
        (lambda content: content["encoder_config"].update(is_decoder=True), 3, "decoder"),
        (lambda content: content["encoder_config"].update(hidden_size="wide"), 2, "config"),
        (lambda content: content["encoder_config"].update(num_attention_heads=5), 2, "config"),
        (lambda content: content["encoder_config"].update(hidden_size=10**9), 2, ""),
        (lambda content: content["encoder_config"].update(num_hidden_layers=3), 2, "tensors are missing"),
        (lambda content: content["encoder_config"].update(num_hidden_layers=1), 2, "does not have"),
        (lambda content: content["encoder_config"].update(vocab_size=63), 2, "expected `[63, 32]`"),
        (set_spartan(cells=13), 2, "13 cells do not divide among 4 parents"),
        (set_spartan(top_k=5), 2, "top_k `5` is above the 4 parents"),
        (set_spartan(parents=6), 2, "expected `[6, 32]`"),
        (set_spartan(layer_norm="both"), 3, "`both`"),
        (set_spartan(more=1), 2, "`spartan` must hold"),
        (lambda content: content["state"].popitem(), 2, "tensors are missing"),
        (lambda content: content["state"].update(more=torch.ones(1)), 2, "does not have: `more`"),
    ],
)
def test_wrong_content_says_what_is_wrong(saved, change, code, said):
    edit_saved(saved, change)
    assert_fails(saved, code, said, str(saved))


@pytest.mark.parametrize(
    ("replace", "said"),
    [
        (lambda value: value[:-1], "has shape `[3, 32]`, expected `[4, 32]`"),
        (lambda value: value.fill_(float("nan")), "NaN or infinite"),
        (lambda value: value.fill_(float("-inf")), "NaN or infinite"),
        (lambda value: value.long(), "torch.int64"),
        (lambda value: value.to_sparse(), "not a dense tensor"),
        (lambda value: "weights", "not a dense tensor"),
    ],
)
def test_wrong_tensor_is_named(saved, replace, said):
    name = "network.bert.encoder.layer.1.memory.parents"
    edit_saved(saved, lambda content: content["state"].update({name: replace(content["state"][name])}))
    assert_fails(saved, 2, name, said)


@pytest.mark.parametrize(
    ("values", "code", "said"),
    [
        ({"spartan_size": 63}, 2, "63 cells do not divide among 8 parents"),
        ({"spartan_top_k_experts": 9}, 2, "top_k `9`"),
        ({"spartan_temperature": 0}, 2, "temperature"),
        ({"spartan_no_of_experts": 4}, 2, "expected 4 parents"),
        ({"spartan_layer_norm": "both"}, 3, "`both`"),
        ({"spartan_type": "spartan_version_3"}, 3, "spartan_version_3"),
        ({"spartan_share": True}, 3, "`spartan_share`"),
        ({"spartan_dont_use": True}, 3, "`spartan_dont_use`"),
        ({"model_type": "t5"}, 3, "`t5`"),
        ({"problem_type": "token_classification"}, 3, "token_classification"),
        ({"id2label": {"0": "a", "2": "b"}}, 2, "id2label"),
        ({"id2label": {"0": "a", "1": "b", "2": "c"}}, 2, "classifier.out_proj"),
        ({"hidden_size": 32}, 2, "has shape"),
    ],
)
def test_original_directory_with_a_wrong_config(original, values, code, said):
    load_model(original)
    edit_config(original, **values)
    assert_fails(original, code, said, str(original))


def test_a_config_with_billions_of_layers_or_classes_ends_at_once(original, saved):
    for name in ("num_hidden_layers", "num_labels"):
        config = json.loads((original / "config.json").read_text())
        edit_config(original, **{name: 2**31})
        assert_fails(original, 2, name, str(2**31))
        (original / "config.json").write_text(json.dumps(config))
        edit_saved(saved, lambda content, name=name: content["encoder_config"].update({name: 2**31}))
        assert_fails(saved, 2, name)
        edit_saved(saved, lambda content, name=name: content["encoder_config"].pop(name))


def test_names_of_weights_that_are_no_text(tmp_path):
    directory = Path(shutil.copytree(GOLDEN / "roberta-v1", tmp_path / "original"))
    weights = torch.load(directory / "pytorch_model.bin", weights_only=True)
    torch.save({("a", "b"): next(iter(weights.values())), **weights}, directory / "pytorch_model.bin")
    assert_fails(directory, 2, "does not hold a state dict")


@pytest.mark.parametrize("temperature", [10**30 + 1, 10**400, 1e-39, float("inf"), float("nan"), 0, -1])
def test_temperatures_that_no_float32_divides_by(temperature):
    with pytest.raises(UsageError, match="temperature"):
        SpartanConfig(temperature=temperature)


def test_original_directory_without_spartan_keys_is_an_encoder(original):
    config = json.loads((original / "config.json").read_text())
    plain = {name: value for name, value in config.items() if not name.startswith("spartan")}
    (original / "config.json").write_text(json.dumps(plain))
    assert_fails(original, 3, "without SPARTAN memories", "hint: train memories")


def test_original_directory_with_wrong_files(original):
    (original / "config.json").write_text("{")
    assert_fails(original, 2, "config.json", "not JSON")
    (original / "config.json").write_text("[]")
    assert_fails(original, 2, "config.json", "JSON object")


def test_original_directory_with_wrong_tensors(original):
    parents = "roberta.encoder.layer.0.spartan_experts.weight"
    edit_tensors(original, lambda tensors: tensors.update({"roberta.pooler.dense.bias": torch.ones(64)}))
    assert_fails(original, 2, "does not have", "roberta.pooler.dense.bias")
    edit_tensors(original, lambda tensors: (tensors.pop("roberta.pooler.dense.bias"), tensors.pop(parents)))
    assert_fails(original, 2, "missing", f"`{parents}`")
    edit_tensors(original, lambda tensors: tensors.update({parents: torch.full((8, 64), float("inf"))}))
    assert_fails(original, 2, "NaN or infinite")


@pytest.mark.parametrize("keep", [0, 7, 1000, -1])
def test_original_directory_with_truncated_weights(original, keep):
    weights = original / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:keep])
    assert_fails(original, 2, "model.safetensors")


def test_original_directory_without_weights(original):
    (original / "model.safetensors").unlink()
    assert_fails(original, 2, "neither model.safetensors nor pytorch_model.bin")


def test_failed_write_leaves_nothing(tmp_path, monkeypatch):
    def full(content, file):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(UsageError, match="No space left"):
        save_model(tiny_model(), tmp_path / "model.pt")
    assert list(tmp_path.iterdir()) == []


def test_a_flipped_bit_of_any_weight_is_refused(tmp_path):
    """torch.load itself does not look at the checksums of an archive."""
    path = tmp_path / "model.pt"
    save_model(tiny_model(layers=1, hidden=16), path)
    data = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        largest = max(archive.infolist(), key=lambda info: info.file_size)
    changed = bytearray(data)
    changed[largest.header_offset + len(largest.filename) + 200] ^= 1
    path.write_bytes(changed)
    torch.load(path, weights_only=True)
    with pytest.raises(UsageError, match=r"checksum|CRC"):
        load_model(path)
