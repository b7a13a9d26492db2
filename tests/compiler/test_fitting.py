"""Fitting int8 to a model's texts: when it is done, what it is done on, and what stays in fp32."""

import numpy as np
import pytest
import torch
from torch import nn

from spartanc.base.schemes.catalogue import find_scheme
from spartanc.base.targets.catalogue import find_target
from spartanc.compiler import fitting, member, pipeline
from spartanc.compiler.fitting import (
    DOUBTFUL,
    FEWEST_TOKENS,
    MOST_TOKENS,
    Decision,
    TextsOfTask,
    TextsToFit,
    costs_of_kept,
    linears_to_keep,
    texts_to_fit,
)
from spartanc.compiler.fleet import add_task
from spartanc.compiler.pipeline import CompileRequest, compile_model
from spartanc.errors import GateError
from spartanc.models.checkpoint import save_model
from spartanc.passes import even_inputs, weight_grids
from spartanc.passes.calibration import run_with, stored_linears
from spartanc.passes.keep_linears import KeepLinears, is_kept
from spartanc.passes.quantize_linears import QuantizeLinears
from spartanc.passes.quantize_linears_int4 import QuantizeLinearsInt4
from spartanc.passes.round_weights import RoundWeights
from spartanc.runtime_py.bundle import open_bundle
from spartanc.runtime_py.data import Example
from spartanc.runtime_py.task_types.classification import CLASSIFICATION
from spartanc.runtime_py.task_types.multilabel import MULTILABEL
from spartanc.runtime_py.task_types.regression import REGRESSION
from support.fleets import save_tasks, tiny_tasks
from support.kernels import needs_arm
from support.models import tiny_model

INT8, INT4 = find_scheme("int8"), find_scheme("int4")
WORDS = ("where", "is", "the", "card", "a", "good", "film", "why", "does", "it", "rain", "in", "that", "city", "who")
TEXTS = [" ".join(WORDS[(i * step) % len(WORDS)] for i in range(2, 9)) for step in range(1, 41)]


def texts(count, length=7):
    return [(torch.full((1, length), i), torch.ones(1, length)) for i in range(count)]


def test_texts_are_taken_up_to_a_number_of_tokens_and_the_doubtful_ones_by_their_margin():
    logits = np.zeros((1000, 3))
    logits[:, 1] = np.arange(1000)[::-1]
    found = texts_to_fit([TextsOfTask(texts(1000), logits, CLASSIFICATION)], 0.995)
    assert MOST_TOKENS <= sum(each[0].shape[1] for each in found.inputs) < MOST_TOKENS + 7
    assert [int(each[0][0, 0]) for each in found.doubtful] == list(range(999, 999 - DOUBTFUL, -1))
    assert [each.given_C.tolist() for each in found.decisions[1:]] == [[False, True, False]] * (DOUBTFUL - 1)
    assert found.may_lose == 5 and found.classes == 3


def test_of_several_labels_a_text_is_doubtful_by_the_one_that_is_nearest_to_its_threshold():
    at_third = MULTILABEL.with_thresholds([0.5, 1 / (1 + np.e)], ("a", "b"))  # logits 0 and -1
    logits = np.stack([np.full(600, 9.0), np.arange(600) - 300.5], 1)
    found = texts_to_fit([TextsOfTask(texts(600), logits, at_third)], 0.995)
    assert {int(each[0][0, 0]) for each in found.doubtful[:2]} == {299, 300}  # -1.5 and -0.5
    given = {tuple(each.given_C.tolist()) for each in found.decisions}
    assert given == {(True, False), (True, True)}
    above, below = (each for each in found.decisions[:2])
    above, below = (above, below) if above.given_C[1] else (below, above)
    assert above.agrees(torch.tensor([[1.0, -0.9, 7.0]])) and not above.agrees(torch.tensor([[1.0, -1.1, 7.0]]))
    assert below.agrees(torch.tensor([[1.0, -1.1]])) and not below.agrees(torch.tensor([[-1.0, -1.1]]))


@pytest.mark.parametrize(("count", "may_lose"), [(90, 1), (199, 1), (200, 1), (400, 2)])
def test_how_many_labels_may_be_lost(count, may_lose):
    rows = TextsOfTask(texts(count), np.eye(3)[np.arange(count) % 3], CLASSIFICATION)
    assert texts_to_fit([rows], INT8.labels_kept).may_lose == may_lose


def test_tasks_of_a_fleet_share_the_tokens_and_a_regression_has_no_labels():
    numbers = TextsOfTask(texts(600), np.arange(600.0)[:, None], REGRESSION)
    classes = TextsOfTask(texts(600), np.eye(2)[np.arange(600) % 2], CLASSIFICATION)
    found = texts_to_fit([numbers, classes], 0.995)
    assert [int(each[0][0, 0]) for each in found.inputs] == 2 * [*range(-(-MOST_TOKENS // 2 // 7))]
    assert len(found.doubtful) == DOUBTFUL and found.may_lose == 3
    alone = texts_to_fit([numbers], 0.995)
    assert not alone.doubtful and alone.inputs


@pytest.mark.parametrize("count", [0, 1, (FEWEST_TOKENS - 1) // 7])
def test_few_texts_are_not_fitted_to(count):
    assert texts_to_fit([TextsOfTask(texts(count), np.zeros((count, 2)), CLASSIFICATION)], 0.995) is None


class Net(nn.Module):
    """`fragile` has one channel that swallows the steps of all others, and the logits hang on those."""

    def __init__(self):
        super().__init__()
        self.first, self.fragile, self.last = nn.Linear(16, 24), nn.Linear(24, 16), nn.Linear(16, 2)
        with torch.no_grad():
            self.first.bias[3] = 4000.0
            self.fragile.weight[:, 3] = 0

    def forward(self, x):
        return self.last(torch.tanh(self.fragile(self.first(x)))).mean(1)


def fragile():
    module = Net().eval()
    program = torch.export.export(module, (torch.randn(1, 5, 16),)).run_decompositions({})
    given = [(torch.randn(1, 5, 16),) for _ in range(40)]
    rounded, _ = RoundWeights(given).run(program)
    logits = [module(*each).detach().numpy() for each in given]
    decisions = [Decision(CLASSIFICATION, CLASSIFICATION.decide(each)[0]) for each in logits]
    return module, program, rounded, given, decisions


def test_only_the_linear_that_costs_labels_stays_and_both_quantisers_leave_it(monkeypatch):
    monkeypatch.setattr(fitting, "MOST_GROWTH", 1.5)  # half of the weights, each in 3 bytes more
    _module, program, rounded, given, decisions = fragile()
    kept = linears_to_keep(program, rounded, TextsToFit(given, given, decisions, 2, 0), INT8)
    assert list(kept) == ["linear_1"]
    mixed, report = KeepLinears(kept).run(rounded)
    assert report.notes["kept"] == [{"linear": "linear_1", "outputs": 16, "inputs": 24, "applied": 1}]
    assert [is_kept(node) for node in stored_linears(mixed)] == [False, True]
    quantised, found = QuantizeLinears(keep_logits=True).run(mixed)
    assert found.changes == 1 and "stays in fp32" in found.skipped[0].reason
    after = run_with(quantised, {}, given)
    assert all(decision.agrees(logits) for decision, logits in zip(decisions, after, strict=True))
    costs = costs_of_kept([report], find_target("rpi4"), INT8, 128)
    assert costs[0]["bytes"] == 3 * 16 * 24
    macs = 16 * 24 * 128
    assert costs[0]["modelled_ms"] == pytest.approx(1e3 * (macs * (1 / 4 - 1 / 8) / 1.5e9 + 3 * 16 * 24 / 4e9))


class Steep(nn.Module):
    """Of every output of `steep`, one weight swallows the steps of its group's others, and reads zeros alone."""

    def __init__(self):
        super().__init__()
        self.first, self.steep, self.last = nn.Linear(32, 32), nn.Linear(32, 32), nn.Linear(32, 2)
        with torch.no_grad():
            self.first.weight[3], self.first.bias[3] = 0, 0
            self.steep.weight.clamp_(-0.1, 0.1)
            self.steep.weight[:, 3] = 2.0

    def forward(self, x):
        return self.last(self.steep(torch.relu(self.first(x)))).mean(1)


def flips(program, given, labels):
    return sum(int(got.argmax()) != label for got, label in zip(run_with(program, {}, given), labels, strict=True))


def test_in_four_bits_the_linear_that_costs_labels_gets_eight(monkeypatch):
    monkeypatch.setattr(fitting, "MOST_GROWTH", 0.5)
    module = Steep().eval()
    program = torch.export.export(module, (torch.randn(1, 5, 32),)).run_decompositions({})
    given = [(torch.randn(1, 5, 32),) for _ in range(40)]
    labels = [int(module(*each).argmax()) for each in given]
    rounded, _ = RoundWeights(given, weight_grids.INT4).run(program)
    may_lose = flips(rounded, given, labels) // 4
    decisions = [Decision(CLASSIFICATION, CLASSIFICATION.decide(module(*each).detach().numpy())[0]) for each in given]
    kept = linears_to_keep(program, rounded, TextsToFit(given, given, decisions, 2, may_lose), INT4)
    assert list(kept) == ["linear_1"]
    mixed, report = KeepLinears(kept).run(rounded)
    quantised, found = QuantizeLinearsInt4().run(mixed)
    assert found.changes == 2 and found.notes == {"int8": 1}
    assert flips(quantised, given, labels) <= may_lose < flips(rounded, given, labels)
    (cost,) = costs_of_kept([report], find_target("rpi4"), INT4, 128)
    assert cost["bytes"] == 32 * 32 / 2 and cost["modelled_ms"] == pytest.approx(1e3 * 512 / 4e9)


def test_nothing_stays_that_would_make_the_program_much_larger():
    _, program, rounded, given, decisions = fragile()
    assert linears_to_keep(program, rounded, TextsToFit(given, given, decisions, 2, 0), INT8) == {}


def test_nothing_stays_where_labels_are_kept():
    _module, program, rounded, given, decisions = fragile()
    assert linears_to_keep(program, rounded, TextsToFit(given, given, decisions, 2, len(given)), INT8) == {}


@pytest.mark.parametrize(("texts", "quantize"), [(200, "int8"), (16, "int8"), (200, "int4")])
def test_a_quantised_model_is_fitted_to_its_texts_if_they_are_enough(texts, quantize, tmp_path):
    model = tiny_model("bert")
    model.eval_examples = tuple(
        Example(text, None, label) for text, label in (("a good film", "a"), ("who", "b")) * (texts // 2)
    )
    save_model(model, tmp_path / "model.pt")
    request = CompileRequest((tmp_path / "model.pt",), "host", tmp_path / "bundle", quantize=quantize, max_length=16)
    result = compile_model(request).as_json()
    passes = {each["name"]: each for each in result["passes"]}
    assert ("round_weights" in passes and "even_inputs" in passes) == (texts == 200)
    assert result["kept_fp32"] == result["kept_int8"] == []
    again = CompileRequest((tmp_path / "model.pt",), "host", tmp_path / "fp32", quantize="none", max_length=16)
    assert "round_weights" not in {each["name"] for each in compile_model(again).as_json()["passes"]}


def with_texts(path, texts=200):
    model = tiny_model("bert")
    pairs = (("a good film", "a"), ("who", "b")) * (texts // 2)
    model.eval_examples = tuple(Example(text, None, label) for text, label in pairs)
    save_model(model, path)
    return path


def missing_its_gate(monkeypatch, times):
    """The first so many programs miss; returns where the size of each is added to."""
    proved, tried = pipeline.prove_all, []

    def prove_all(plan, members, program):
        tried.append(program.stat().st_size)
        if len(tried) <= times:
            raise GateError(f"program {len(tried)} gives other labels")
        return proved(plan, members, program)

    monkeypatch.setattr(pipeline, "prove_all", prove_all)
    return tried


@pytest.mark.parametrize(("misses", "kept"), [(1, 1), (3, 4)])
def test_a_program_that_misses_its_gate_is_made_again_with_more_linears_that_stay(misses, kept, tmp_path, monkeypatch):
    require_made_again("host", misses, kept, tmp_path, monkeypatch)


@needs_arm
def test_a_program_for_a_board_is_made_again_beside_its_runtime(tmp_path, monkeypatch):
    require_made_again("rpi4", 1, 1, tmp_path, monkeypatch)
    assert (tmp_path / "bundle" / "runtime" / "spartan").is_file()


def require_made_again(target, misses, kept, tmp_path, monkeypatch):
    monkeypatch.setattr(fitting, "MOST_TO_PASS", 1.0)
    tried = missing_its_gate(monkeypatch, misses)
    source = with_texts(tmp_path / "model.pt")
    result = compile_model(CompileRequest((source,), target, tmp_path / "bundle", quantize="int8", max_length=16))
    assert len(result.kept_fp32) == kept
    assert len(tried) == misses + 1 and tried == sorted(set(tried)), "each is larger than the one before"
    assert open_bundle(tmp_path / "bundle").manifest["kept_fp32"] == result.kept_fp32


@pytest.mark.parametrize(("growth", "tries"), [(1.0, pipeline.MOST_TRIES), (0.0, 1)])
def test_the_last_miss_is_told_where_tries_or_bytes_are_used_up(growth, tries, tmp_path, monkeypatch):
    monkeypatch.setattr(fitting, "MOST_TO_PASS", growth)
    tried = missing_its_gate(monkeypatch, 9)
    source = with_texts(tmp_path / "model.pt")
    with pytest.raises(GateError, match=f"program {tries} gives other labels"):
        compile_model(CompileRequest((source,), "host", tmp_path / "bundle", quantize="int8", max_length=16))
    assert len(tried) == tries and not (tmp_path / "bundle").exists()


def test_a_fleets_backbone_is_fitted_to_the_texts_of_all_its_tasks_and_takes_another_task_later(tmp_path, monkeypatch):
    monkeypatch.setattr(member, "require", lambda *_: None)  # random models' labels are within int8's noise
    monkeypatch.setattr(even_inputs, "WORTH", 0.99)  # tiny encoders are even already
    models = tiny_tasks("bert")
    for model in models.values():
        pairs = [(text, model.labels[i % len(model.labels)] if model.labels else "0.5") for i, text in enumerate(TEXTS)]
        model.eval_examples = tuple(Example(text, None, label) for text, label in pairs)
        model.pairs = None
    paths = save_tasks(models, tmp_path)
    sources = (paths["three"], paths["score"])
    request = CompileRequest(sources, "host", tmp_path / "fleet", quantize="int8", max_length=24, shared_backbone=True)
    result = compile_model(request).as_json()
    passes = {each["name"]: each for each in result["passes"]}
    assert passes["round_weights"]["changes"] >= 2 * 4 and passes["even_inputs"]["changes"] >= 2 * 4
    add_task(tmp_path / "fleet", paths["pair"])
    assert len(open_bundle(tmp_path / "fleet").manifest["fleet"]["tasks"]) == 3
