"""The original implementation's checkpoints give what it computed from them."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from spartanc.models.checkpoint import load_model, save_model

GOLDEN = sorted(path.parent for path in (Path(__file__).parents[1] / "golden").glob("*/config.json"))
TOLERANCE = 1e-5


def assert_all_close(got, expected):
    assert got.shape == expected.shape
    assert expected.abs().max() > 1e-3
    assert torch.isfinite(expected).all()
    assert (got - expected).abs().max() <= TOLERANCE


def test_there_are_four_golden_checkpoints():
    assert len(GOLDEN) == 4


@pytest.mark.parametrize("directory", GOLDEN, ids=lambda path: path.name)
def test_golden_checkpoint_gives_logits_hidden_states_and_parent_weights(directory, tmp_path):
    expected = load_file(directory / "expected.safetensors")
    model = load_model(directory)
    save_model(model, tmp_path / "model.pt")
    for loaded in (model, load_model(tmp_path / "model.pt")):
        trace = loaded.module.trace(expected["input_ids"], expected["attention_mask"])
        layers = len(loaded.module.memories())
        assert_all_close(trace.logits, expected["logits"])
        assert len(trace.hidden_states) == layers + 1
        assert len(trace.parent_weights) == layers
        for index, hidden in enumerate(trace.hidden_states):
            assert_all_close(hidden, expected[f"hidden_states.{index}"])
        for index, weights in enumerate(trace.parent_weights):
            assert_all_close(weights, expected[f"parent_weights.{index}"])
        with torch.no_grad():
            assert_all_close(loaded.module(expected["input_ids"], expected["attention_mask"]), expected["logits"])


@pytest.mark.parametrize("directory", GOLDEN, ids=lambda path: path.name)
def test_parameters_that_the_original_never_reads_are_named(directory):
    ignored = load_model(directory).ignored
    assert any(name.endswith("spartan_value_bias") for name in ignored)
    assert not any("attention" in name for name in ignored)
