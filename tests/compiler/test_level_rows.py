"""A token whose embedding is one number throughout: its LayerNorm is the bias, in programs as in eager."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from spartanc.models.checkpoint import TrainedModel, save_model
from spartanc.models.classifier import SpartanClassifier
from spartanc.models.memory import SpartanConfig
from support.cli import spartanc_json

CONFIG = Path(__file__).parents[1] / "golden" / "roberta-v1" / "config.json"
LEVEL, OTHER = 3, 100  # token ids: the words of a level row, one that no proof row may draw and one that it may


def model_with_level_rows(value: float, layer_norm: str) -> TrainedModel:
    config = {k: v for k, v in json.loads(CONFIG.read_text()).items() if not k.startswith("spartan_")}
    config |= {"hidden_size": 312, "layer_norm_eps": 1e-12}
    spartan = SpartanConfig(layer_norm=layer_norm)
    torch.manual_seed(0)
    module = SpartanClassifier(config, spartan).eval()
    tables = {name.rsplit(".", 2)[-2]: p for name, p in module.named_parameters() if "_embeddings." in name}
    with torch.no_grad():
        tables["position_embeddings"].zero_()
        tables["token_type_embeddings"].zero_()
        tables["word_embeddings"][LEVEL] = value
        tables["word_embeddings"][OTHER : OTHER + 5] = value
        for name, parameter in module.named_parameters():
            if name.endswith("LayerNorm.bias"):
                parameter.normal_(std=0.5)  # else a level row becomes 0, and all parents are equal
    return TrainedModel(module, config, spartan, None, ("a", "b", "c"), "classification")


@pytest.mark.parametrize("layer_norm", ["none", "post"])
@pytest.mark.parametrize("value", [0.7, 123.456])
def test_a_level_row_is_computed_as_in_eager(value, layer_norm, tmp_path):
    model = model_with_level_rows(value, layer_norm)
    save_model(model, tmp_path / "model.pt")
    input_ids = torch.tensor([[0, LEVEL, 2], [0, OTHER, 2], [LEVEL, LEVEL, LEVEL]])
    mask = torch.ones_like(input_ids)
    with torch.no_grad():
        logits = model.module(input_ids, mask)
    assert np.ptp(logits.numpy(), axis=0).max() > 0.01
    expected = tmp_path / "expected.safetensors"
    save_file({"input_ids": input_ids, "attention_mask": mask, "logits": logits}, expected)
    out = tmp_path / "bundle"
    compiled = spartanc_json(
        "compile", tmp_path / "model.pt", "--target", "host", "--quantize", "none", "--max-length", 8, "--out", out
    )
    assert any(op.startswith("spartan::add_layer_norm") for op in compiled["fallback_ops"])
    assert spartanc_json("verify", out, "--expected", expected)["max_abs_diff"] < 1e-5
