"""Slimming, from an encoder's directory to another one."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel

from spartanc.base.targets.catalogue import find_target
from spartanc.errors import Interrupted, UnsupportedModelError, UsageError
from spartanc.models.backbone import load_backbone
from spartanc.models.slim import distil as distillation
from spartanc.models.slim import judge
from spartanc.models.slim.encoder import Encoder
from spartanc.models.slim.judge import halves, read_judging, unexplained
from spartanc.models.slim.narrow import narrow
from spartanc.models.slim.request import SlimRequest
from spartanc.models.slim.slim import slim
from spartanc.models.slim.texts import batches
from spartanc.models.sparsifiers.catalogue import SPARSIFIERS, find_sparsifier
from spartanc.models.sparsifiers.second_order import SECOND_ORDER
from support.encoders import save_encoder, sentiment, write_encoder, write_examples
from support.models import ARCHITECTURES, GATED, STACKED

UNITS = 128
ROWS = [[2, 5 + index % 9, 6 + index % 7, 7 + index % 5, 3] for index in range(64)]


@pytest.fixture
def encoder(tmp_path):
    return write_encoder(tmp_path / "encoder", intermediate_size=UNITS)


@pytest.fixture
def texts(tmp_path):
    return write_examples(tmp_path / "texts.jsonl", sentiment(400, 0))


def request(encoder, texts, **changes):
    given = {"target": find_target("rpi4"), "out": encoder.parent / "slim", "speedup": 1.1, "length": 16, "steps": 12}
    return SlimRequest(backbone=encoder, texts=(texts,), **(given | changes))


@pytest.mark.parametrize(
    ("architecture", "why"),
    [(each, "units of gated feed-forwards are pairs") for each in GATED]
    + [(each, "layers stack feed-forwards") for each in STACKED],
)
def test_gated_and_stacked_feed_forwards_are_refused(tmp_path, architecture, why):
    with pytest.raises(UnsupportedModelError, match=why):
        Encoder(load_backbone(save_encoder(tmp_path / "encoder", architecture)))


def states(directory, rows):
    model = AutoModel.from_pretrained(directory).eval()
    with torch.no_grad():
        return model(torch.tensor(rows)).last_hidden_state


@pytest.mark.parametrize("architecture", [each for each in ARCHITECTURES if each not in GATED + STACKED])
def test_units_that_are_there_twice_leave_next_to_no_trace(tmp_path, architecture):
    """Every second unit repeats the one before it: half of them explains everything, but for the damping."""
    backbone = load_backbone(save_encoder(tmp_path / "encoder", architecture))
    dense, slim_one = Encoder(backbone), Encoder(backbone)
    for each in (dense, slim_one):
        for pair in each.feed_forwards():
            with torch.no_grad():
                pair.first.weight[1::2] = pair.first.weight[::2]
                pair.first.bias[1::2] = pair.first.bias[::2]
    data = list(batches(ROWS, dense.pad_id))
    half = [pair.units // 2 for pair in slim_one.feed_forwards()]
    removed = narrow(dense, slim_one, half, SECOND_ORDER, data)
    assert [each.units for each in removed] == half == [pair.units for pair in slim_one.feed_forwards()]
    assert max(unexplained(dense, slim_one, data)) < 0.02
    drawn = Encoder(backbone)
    for pair, other in zip(drawn.feed_forwards(), dense.feed_forwards(), strict=True):
        pair.first.load_state_dict(other.first.state_dict())
    narrow(dense, drawn, half, find_sparsifier("random"), data)
    assert max(unexplained(dense, drawn, data)) > 0.1


@pytest.mark.parametrize("name", [each.name for each in SPARSIFIERS])
def test_a_directory_comes_out_that_transformers_loads(encoder, texts, name):
    result = slim(request(encoder, texts, sparsifier=name, judge=(texts,)))
    out = encoder.parent / "slim"
    config = json.loads((out / "config.json").read_text())
    assert config["intermediate_size"] == result.units < result.units_before == UNITS
    assert result.modelled_speedup >= 1.1
    assert {each.units for each in result.removed} == {result.units}
    model = AutoModel.from_pretrained(out)
    assert model.encoder.layer[0].intermediate.dense.weight.shape[0] == result.units
    assert json.loads((out / "slim.json").read_text()) == json.loads(json.dumps(result.as_json()))
    assert "<h2>Layer by layer</h2>" in (out / "slim.html").read_text()
    assert (out / "tokenizer.json").read_text() == (encoder / "tokenizer.json").read_text()
    (judged,) = result.judged
    assert judged.rows == 200
    assert not (encoder.parent / ".slim.slimming").exists()


def test_what_is_written_computes_what_was_made(encoder, texts):
    slim(request(encoder, texts, steps=0))
    backbone = load_backbone(encoder.parent / "slim")
    mine = Encoder(backbone)
    rows = torch.tensor(ROWS[:8])
    with torch.no_grad():
        torch.testing.assert_close(mine(rows, torch.ones_like(rows))[-1], states(encoder.parent / "slim", ROWS[:8]))


def test_distillation_brings_hidden_states_nearer(encoder, texts):
    before = slim(request(encoder, texts, steps=0))
    after = slim(request(encoder, texts, steps=60, overwrite=True))
    assert before.unexplained == before.unexplained_at_first == after.unexplained_at_first
    assert after.unexplained[-1] < before.unexplained[-1]


def test_the_same_request_gives_the_same_bytes(encoder, texts):
    slim(request(encoder, texts))
    first = (encoder.parent / "slim" / "model.safetensors").read_bytes()
    slim(request(encoder, texts, overwrite=True))
    assert (encoder.parent / "slim" / "model.safetensors").read_bytes() == first


def test_an_interrupted_run_goes_on_and_ends_as_if_nothing_had_happened(encoder, texts, monkeypatch):
    slim(request(encoder, texts))
    wanted = (encoder.parent / "slim" / "model.safetensors").read_bytes()
    shutil.rmtree(encoder.parent / "slim")
    monkeypatch.setattr(distillation, "CHECKPOINT_EVERY", 0.0)
    seen = []

    def interrupt(*given):
        seen.append(given)
        if len(seen) == 7:
            raise KeyboardInterrupt
        return original(*given)

    original = distillation.distance
    monkeypatch.setattr(distillation, "distance", interrupt)
    with pytest.raises(Interrupted):
        slim(request(encoder, texts))
    assert not (encoder.parent / "slim").exists()
    monkeypatch.setattr(distillation, "distance", original)
    with pytest.raises(UsageError, match="differs from this one in: seed"):
        slim(request(encoder, texts, resume=True, seed=1))
    lines = []
    slim(request(encoder, texts, resume=True), lines.append)
    assert "going on from the checkpoint" in lines
    assert (encoder.parent / "slim" / "model.safetensors").read_bytes() == wanted


@pytest.mark.parametrize("later", [0.05, 0.002])
def test_a_time_limit_holds_where_steps_become_slower_or_faster(encoder, monkeypatch, later):
    """By a clock of its own: 0.01 s for each of the first 30 steps, then `later`."""
    clock, steps, original = [0.0], [0], distillation.distance

    def step(*given):
        steps[0] += 1
        clock[0] += 0.01 if steps[0] <= 30 else later
        return original(*given)

    monkeypatch.setattr(distillation, "distance", step)
    monkeypatch.setattr(distillation, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    dense, mine = (Encoder(load_backbone(encoder)) for _ in range(2))
    lines = []
    found = distillation.distil(mine, dense, ROWS, distillation.DistilSettings(1.0), say=lines.append)
    assert found.seconds == pytest.approx(1.0, abs=11 * max(0.01, later))
    assert found.steps == steps[0]
    assert len(lines) >= 5


def test_a_slim_encoder_is_not_slimmed_again(encoder, texts):
    slim(request(encoder, texts, steps=0))
    out = encoder.parent / "slim"
    with pytest.raises(UsageError, match="slimmed already"):
        slim(request(out, texts, out=encoder.parent / "slimmer"))


def test_files_to_judge_by_are_read_before_anything_is_computed(encoder, texts, tmp_path):
    alike = write_examples(tmp_path / "alike.jsonl", [{**row, "label": "pos"} for row in sentiment(40, 1)])
    none = write_examples(tmp_path / "none.jsonl", [{"text": row["text"]} for row in sentiment(40, 1)])
    few = write_examples(tmp_path / "few.jsonl", sentiment(3, 1))
    wrong = {
        tmp_path / "nofile.jsonl": "cannot read",
        alike: "one label only",
        none: "label",
        few: "too few to judge by",
    }
    for path, why in wrong.items():
        for sparsifier in ("second-order", "spartan"):
            lines = []
            with pytest.raises(UsageError, match=why):
                slim(request(encoder, texts, judge=(texts, path), sparsifier=sparsifier), lines.append)
            assert not any(line.startswith("distilling") for line in lines)
            assert not list(encoder.parent.glob(".slim*"))


@pytest.mark.parametrize("several", [False, True])
def test_a_sorted_file_is_judged_on_all_its_classes(encoder, tmp_path, monkeypatch, several):
    """40 of one class, then 40 of another, then one of a third: the head alone would hold one."""
    names = ["pos"] * 40 + ["neg"] * 40 + ["odd"]
    key, value = ("labels", lambda name: [name]) if several else ("label", str)
    rows = [{"text": row["text"], key: value(name)} for row, name in zip(sentiment(len(names), 3), names, strict=True)]
    path = write_examples(tmp_path / "sorted.jsonl", rows)
    tokenizer = load_backbone(encoder).tokenizer
    judging = read_judging(path, tokenizer, 16, 0)
    of = judging.targets_N.argmax(-1) if several else judging.targets_N
    assert sorted(np.unique(of[judging.train], return_counts=True)[1]) == [1, 20, 20]
    assert sorted(np.unique(of[judging.test], return_counts=True)[1]) == [20, 20]
    monkeypatch.setattr(judge, "MOST_ROWS", 40)
    assert len(judging.rows) == 81
    drawn = read_judging(path, tokenizer, 16, 0)
    assert len(drawn.rows) == 40 and len(drawn.test) == 20
    of = drawn.targets_N.argmax(-1) if several else drawn.targets_N
    assert len(np.unique(of[drawn.train])) >= 2 and len(np.unique(of[drawn.test])) >= 2
    assert read_judging(path, tokenizer, 16, 0).rows == drawn.rows != read_judging(path, tokenizer, 16, 1).rows
    both = Encoder(load_backbone(encoder))
    probed = judge.probe(both, both, judging)
    assert probed.rows == 40 and probed.dense == probed.slim and probed.error == 0


def test_texts_that_are_cut_are_counted(encoder, tmp_path):
    rows = [{**row, "text": row["text"] + " good" * (20 * (index < 7))} for index, row in enumerate(sentiment(200, 0))]
    path, lines = write_examples(tmp_path / "long.jsonl", rows), []
    slim(request(encoder, path, judge=(path,), steps=0), lines.append)
    assert "7 of 200 texts exceed 16 tokens and were cut" in lines
    assert f"{path}: 7 of 200 texts exceed 16 tokens and were cut" in lines


def test_the_rarest_class_is_learned_from_however_rows_are_drawn():
    for count, rare in ((3, 1), (4, 2), (40, 1), (41, 3)):
        for first in range(count - rare + 1):
            strata_N = np.zeros(count, int)
            strata_N[first : first + rare] = 1
            train, test = halves(strata_N)
            assert sorted([*train, *test]) == list(range(count))
            assert set(strata_N[train]) == {0, 1}


def test_resuming_what_keeps_no_checkpoint_is_refused(encoder, texts):
    for name in ("top-kast", "spartan"):
        with pytest.raises(UsageError, match=f"`{name}` moves its masks"):
            request(encoder, texts, sparsifier=name, resume=True)


def test_nothing_to_resume_is_said_and_so_is_what_is_deleted(encoder, texts, monkeypatch):
    lines = []
    original = distillation.distance

    def interrupt(*given):
        raise KeyboardInterrupt

    monkeypatch.setattr(distillation, "distance", interrupt)
    with pytest.raises(Interrupted):
        slim(request(encoder, texts, resume=True), lines.append)
    assert any(line.startswith("nothing to resume") for line in lines)
    monkeypatch.setattr(distillation, "distance", original)
    lines.clear()
    slim(request(encoder, texts), lines.append)
    assert any(line.startswith("starting anew; what an interrupted run left is deleted") for line in lines)


def test_a_few_texts_are_too_few(encoder, tmp_path):
    few = write_examples(tmp_path / "few.jsonl", sentiment(20, 0))
    with pytest.raises(UsageError, match="too few to slim an encoder by"):
        slim(request(encoder, few))


def test_texts_may_be_lines(encoder, texts, tmp_path):
    lines = tmp_path / "texts.txt"
    lines.write_text("\n\n".join(json.loads(row)["text"] for row in texts.read_text().splitlines()))
    slim(request(encoder, texts, steps=0))
    first = (encoder.parent / "slim" / "model.safetensors").read_bytes()
    slim(request(encoder, lines, steps=0, overwrite=True))
    assert (encoder.parent / "slim" / "model.safetensors").read_bytes() == first


def test_nothing_is_written_over_unasked(encoder, texts):
    with pytest.raises(UsageError, match="not empty"):
        slim(request(encoder, texts, out=encoder))
    with pytest.raises(UsageError, match="is the encoder itself"):
        slim(request(encoder, texts, out=encoder, overwrite=True))
    with pytest.raises(UsageError, match="holds the encoder"):
        slim(request(encoder, texts, out=encoder.parent, overwrite=True))
    with pytest.raises(UsageError, match="is a file"):
        slim(request(encoder, texts, out=texts))


@pytest.mark.parametrize("wrong", [{"minutes": 0}, {"steps": -1}, {"sparsifier": "best"}, {"length": 0}])
def test_wrong_settings_are_named(encoder, texts, wrong):
    with pytest.raises(UsageError, match=next(iter(wrong))):
        request(encoder, texts, **wrong)


def test_uneven_layers_have_zeros_up_to_the_widest(encoder, texts):
    """Layer 0 gives next to nothing: its units leave first. transformers computes what was made."""
    tensors = load_file(encoder / "model.safetensors")
    tensors["encoder.layer.0.output.dense.weight"] *= 0.01
    save_file(tensors, encoder / "model.safetensors")
    result = slim(request(encoder, texts, uneven=True))
    out = encoder.parent / "slim"
    first, second = (each.units for each in result.removed)
    assert first < second == json.loads((out / "config.json").read_text())["intermediate_size"]
    kept = load_file(out / "model.safetensors")
    for name in ("intermediate.dense.weight", "intermediate.dense.bias"):
        assert bool((kept[f"encoder.layer.0.{name}"][first:] == 0).all())
    assert bool((kept["encoder.layer.0.output.dense.weight"][:, first:] == 0).all())
    assert result.modelled_speedup >= 1.1
    mine = Encoder(load_backbone(out))
    rows = torch.tensor(ROWS[:8])
    with torch.no_grad():
        torch.testing.assert_close(mine(rows, torch.ones_like(rows))[-1], states(out, ROWS[:8]))


def test_uneven_widths_need_to_know_what_units_are_worth(encoder, texts):
    with pytest.raises(UsageError, match="second-order"):
        request(encoder, texts, uneven=True, sparsifier="random")
