"""`spartanc verify --stages`: what every stage and every quantisation did, layer by layer."""

import json

import numpy as np
import pytest
import torch

from spartanc.compiler.capture import capture
from spartanc.compiler.cli import print_json
from spartanc.compiler.present import print_stages
from spartanc.compiler.samples import row
from spartanc.compiler.stages import _chosen, _Layer
from spartanc.compiler.steps import FitLinears
from spartanc.compiler.traced import LayerTrace, eager_trace, trace_memories
from spartanc.compiler.verify import VerifyRequest, verify_bundle
from spartanc.models.checkpoint import save_model
from spartanc.models.memory import SpartanConfig
from spartanc.passes.pipelines import exact_passes
from spartanc.runtime_py.data import Example
from spartanc.runtime_py.report_texts import noise_said
from support.cli import spartanc, spartanc_json
from support.models import tiny_model

TEXTS = [("where is the card", "a"), ("a good film", "b"), ("why does it rain in that city", "c"), ("who", "a")]

EXACT = ["captured", *(each.name for each in exact_passes()), "lowered"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stages")
    model = tiny_model("bert", layers=2, seed=2)  # whose two best classes are far apart on these texts
    model.eval_examples = tuple(Example(text, None, label) for text, label in TEXTS * 32)  # enough to be fitted to
    save_model(model, folder / "model.pt")
    lines = [json.dumps({"text": text, "label": label}) for text, label in TEXTS]
    (folder / "rows.jsonl").write_text("\n".join(lines))
    return folder


@pytest.fixture(scope="module")
def int8_stages(folder):
    options = ["--quantize", "int8", "--max-length", 24]
    spartanc_json("compile", folder / "model.pt", "--target", "host", "--out", folder / "int8", *options)
    return spartanc_json(
        "verify", folder / "int8", "--model", folder / "model.pt", "--data", folder / "rows.jsonl", "--stages"
    )


def test_stages_follow_the_pipeline_and_take_each_quantisation_apart(int8_stages):
    apart = ["memories int8", "linears nearest", "linears int8", "embeddings int8", "all", "bundle"]
    assert [each["stage"] for each in int8_stages["stages"]] == EXACT + apart
    assert int8_stages["first_moved"] is None
    by_name = {each["stage"]: each for each in int8_stages["stages"]}
    for name in EXACT:
        assert by_name[name]["max_abs_diff"] < 1e-5
    for name in apart:
        assert by_name[name]["max_abs_diff"] > 1e-5
        assert by_name[name]["accuracy_cost"] is not None


def test_every_layer_has_its_ratio_and_its_flipped_parents(int8_stages):
    traced = {each["stage"]: each["layers"] for each in int8_stages["stages"] if each["layers"]}
    linears = ["linears nearest", "linears int8"]
    assert list(traced) == ["lowered", "memories int8", *linears, "embeddings int8", "all"]
    tokens = sum(len(text.split()) + 2 for text, _ in TEXTS)
    for layers in traced.values():
        # Two chosen parents a position; of the last layer only the pooled position is computed.
        assert [layer["parents_chosen"] for layer in layers] == [2 * tokens, 2 * len(TEXTS)]
    assert all(layer["snr_db"] > 100 and layer["parents_flipped"] == 0 for layer in traced["lowered"])
    assert all(20 < layer["snr_db"] < 100 for layer in traced["all"])
    # All quantisations together are noisier than any alone.
    for name in ("memories int8", "linears int8", "embeddings int8"):
        assert traced[name][-1]["snr_db"] > traced["all"][-1]["snr_db"]


def test_rows_that_moved_most_say_what_each_stage_moved_them_by(int8_stages):
    moved = [each["max_abs_diff"] for each in int8_stages["worst"]]
    assert moved == sorted(moved, reverse=True)
    largest = {each["stage"]: each["max_abs_diff"] for each in int8_stages["stages"]}
    for each in int8_stages["worst"]:
        assert list(each["stages"]) == list(largest)
        assert each["stages"]["bundle"] == pytest.approx(each["max_abs_diff"])
        assert all(by_stage <= largest[name] * 1.000001 for name, by_stage in each["stages"].items())
        assert each["labels"][0] == each["labels"][1] and each["labels_agree"]


def test_linears_are_fitted_once_for_all_stages_that_have_them(folder, int8_stages, monkeypatch):
    runs = []
    monkeypatch.setattr(FitLinears, "run", lambda self, artifact: runs.append(self) or artifact)
    request = VerifyRequest(bundle=folder / "int8", model=folder / "model.pt", data=folder / "rows.jsonl", stages=True)
    stages = {each["stage"]: each for each in verify_bundle(request).document["stages"]}
    assert len(runs) == 1
    moved = [stages[f"linears {form}"]["max_abs_diff"] for form in ("nearest", "int8")]
    assert moved[0] == moved[1], "nothing was fitted in this test"


def test_stages_of_four_bits_are_named_so(folder):
    options = ["--quantize", "int4", "--max-length", 24]
    spartanc_json("compile", folder / "model.pt", "--target", "host", "--out", folder / "int4", *options)
    found = spartanc_json(
        "verify", folder / "int4", "--model", folder / "model.pt", "--data", folder / "rows.jsonl", "--stages"
    )
    apart = ["memories int4", "linears nearest", "linears int4", "embeddings int4", "all", "bundle"]
    assert [each["stage"] for each in found["stages"]][len(EXACT) :] == apart
    assert found["gates"]["label_agreement"] == 0.95
    assert found["traced_vs_bundle_max_abs_diff"] < 1e-6


def test_the_traced_program_computes_what_the_bundle_does(int8_stages):
    assert int8_stages["traced_vs_bundle_max_abs_diff"] < 1e-6


def test_a_stage_that_moves_too_far_is_named(folder, int8_stages, tmp_path):
    # The bundle of another model: all stages of this one are sound, the bundle is not.
    save_model(tiny_model("bert", seed=3), tmp_path / "other.pt")
    data = ["--data", folder / "rows.jsonl", "--stages", "--limit", 2, "--max-diff", 1e-4]
    found = spartanc_json("verify", folder / "int8", "--model", tmp_path / "other.pt", *data, code=6)
    assert found["first_moved"] == "bundle"
    assert not found["passed"]


def test_stages_are_printed_as_tables(int8_stages, capsys):
    print_stages(int8_stages)
    said = capsys.readouterr().out
    for each in int8_stages["stages"]:
        assert f" {each['stage']} " in said
    assert "chosen parents flipped" in said
    assert f"{int8_stages['stages'][-2]['layers'][1]['snr_db']:.1f}" in said
    assert "too far: none" in said


def test_stages_need_a_model_to_compile_again(folder, int8_stages, tmp_path):
    done = spartanc("verify", folder / "int8", "--expected", tmp_path / "absent.safetensors", "--stages")
    assert done.exit_code == 2
    assert "--model" in done.stderr


@pytest.mark.parametrize("layer_norm", ["none", "post"])
def test_a_traced_program_gives_the_logits_and_what_memories_took_and_gave(layer_norm):
    spartan = SpartanConfig(parents=4, cells=12, top_k=2, layer_norm=layer_norm)
    model = tiny_model("roberta", layers=3, spartan=spartan)
    program = capture(model.module, 16)
    for each in exact_passes():
        program, _ = each.run(program)
    traced, layout = trace_memories(program)
    ids, mask = row(range(5, 14))
    with torch.no_grad():
        flat = traced.module()(torch.from_numpy(ids), torch.from_numpy(mask))[0].numpy()
    logits, layers = eager_trace(model.module, (ids, mask))
    np.testing.assert_allclose(layout.logits(flat), logits, atol=1e-5)
    assert np.abs(logits).max() > 0
    found = list(layout.layers(flat, 9))
    assert [len(each.given_PH) for each in found] == [9, 9, 1]
    for mine, expected in zip(found, layers, strict=True):
        np.testing.assert_allclose(mine.taken_PH, expected.taken_PH[: len(mine.taken_PH)], atol=1e-5)
        np.testing.assert_allclose(mine.given_PH, expected.given_PH[: len(mine.given_PH)], atol=1e-5)


def test_ratio_and_flips_of_a_layer_are_counted():
    parents_EH = np.eye(4, dtype=np.float32)
    eager = LayerTrace(np.array([[4.0, 3, 2, 1]]), np.array([[3.0, 4, 0, 0]]))
    got = LayerTrace(np.array([[4.0, 1, 2, 3]]), np.array([[3.0, 4, 0.5, 0]]))
    layer = _Layer()
    layer.add(eager, got, parents_EH, top_k=2)
    assert layer.as_dict(1) == {"layer": 1, "snr_db": pytest.approx(20), "parents_chosen": 2, "parents_flipped": 1}


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_layer_that_is_not_finite_is_not_exact(value, capsys):
    eager = LayerTrace(np.ones((1, 4)), np.ones((1, 4)))
    same, broken = _Layer(), _Layer()
    same.add(eager, eager, np.eye(4), top_k=2)
    broken.add(eager, LayerTrace(np.ones((1, 4)), np.full((1, 4), value)), np.eye(4), top_k=2)
    assert same.as_dict(1)["snr_db"] is None
    assert noise_said(same.as_dict(1)) == "exact"
    print_json(broken.as_dict(1))
    printed = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert printed == {"layer": 1, "snr_db": None, "parents_chosen": 2, "parents_flipped": 0, "finite": False}
    for layer in (printed, broken.as_dict(1)):
        assert noise_said(layer) == "not finite"


def test_ties_between_parents_take_the_lower_index():
    assert _chosen(np.zeros((1, 4)), np.ones((3, 4)), 2).tolist() == [[True, True, False]]
