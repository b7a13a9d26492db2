"""Parents that are equal, as untrained or copied ones are: the lower index is chosen, by every program as in eager."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from spartanc.models.checkpoint import save_model
from spartanc.models.memory import SpartanConfig
from support.cli import spartanc_json
from support.models import tiny_model

FORMS = {
    "fused": ("--quantize", "none"),
    "portable": ("--quantize", "none", "--lowering", "portable"),
    "torchscript": ("--quantize", "none", "--format", "torchscript"),
    "int8": ("--quantize", "int8"),
}


def model_with_equal_parents(parents: int, top_k: int):
    """One memory with parents of zeros, one with pairs, one with a single pair, one with all parents alike."""
    config = SpartanConfig(parents=parents, cells=3 * parents, top_k=top_k)
    model = tiny_model("bert", layers=4, spartan=config)
    zeros, pairs, pair, alike = (memory.parents for memory in model.module.memories())
    with torch.no_grad():
        zeros.zero_()
        pairs[1 : parents // 2 * 2 : 2] = pairs[0 : parents // 2 * 2 : 2]
        pair[-1] = pair[0]
        alike.copy_(alike[:1].expand_as(alike))
    return model


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("parents", "top_k"),
    [(5, 2), pytest.param(16, 8, marks=pytest.mark.long), pytest.param(3, 3, marks=pytest.mark.long)],
)
def test_equal_parents_are_chosen_as_in_eager(parents, top_k, form, tmp_path):
    if parents == 3 and form not in ("fused", "portable"):
        pytest.skip("all parents are chosen: nothing to choose between")
    model = model_with_equal_parents(parents, top_k)
    save_model(model, tmp_path / "model.pt")
    generator = torch.Generator().manual_seed(1)
    input_ids = torch.randint(5, 64, (6, 16), generator=generator)
    lengths = torch.tensor([1, 1, 2, 5, 15, 16])
    mask = (torch.arange(16) < lengths.unsqueeze(1)).long()
    with torch.no_grad():
        logits = model.module(input_ids * mask, mask)
    assert np.ptp(logits.numpy(), axis=0).max() > 0.01
    expected = tmp_path / "expected.safetensors"
    save_file({"input_ids": input_ids * mask, "attention_mask": mask, "logits": logits}, expected)
    out = tmp_path / "bundle"
    spartanc_json("compile", tmp_path / "model.pt", "--target", "host", "--max-length", 16, "--out", out, *FORMS[form])
    found = spartanc_json("verify", out, "--expected", expected)
    assert found["max_abs_diff"] < (0.1 * float(logits.std()) if form == "int8" else 1e-4)
