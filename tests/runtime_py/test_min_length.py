"""Programs that take no text of one or two tokens: whoever runs them pads, and the answer is eager's."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from spartanc.compiler.pipeline import CompileRequest, compile_model
from spartanc.compiler.samples import Row
from spartanc.errors import UsageError
from spartanc.models.checkpoint import TrainedModel
from spartanc.runtime_py.bench import BenchPlan, bench_bundle
from spartanc.runtime_py.board_model import counting
from spartanc.runtime_py.build import COMMAND, build_runtime
from spartanc.runtime_py.bundle import open_bundle
from spartanc.runtime_py.devices.device import write_rows
from spartanc.runtime_py.devices.local import LocalDevice
from spartanc.runtime_py.devices.stock import StockDevice
from spartanc.runtime_py.loading import load
from spartanc.runtime_py.session import pad
from support.fleets import save_tasks, tiny_tasks

WORDS = range(4, 40)
FORMS = {"fused": {}, "portable": {"lowering": "portable"}}


@pytest.fixture(scope="module")
def models() -> dict[str, TrainedModel]:
    return tiny_tasks("mobilebert")


@pytest.fixture(scope="module", params=FORMS)
def single(request, models, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp(request.param)
    return compiled(folder / "bundle", save_tasks({"three": models["three"]}, folder).values(), **FORMS[request.param])


@pytest.fixture(scope="module")
def fleet(models, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("fleet")
    return compiled(folder / "fleet", save_tasks(models, folder).values(), shared_backbone=True)


def compiled(out: Path, paths, **options) -> Path:
    compile_model(CompileRequest(models=tuple(paths), out=out, target="host", max_length=12, runtime=False, **options))
    return out


def short_rows() -> list[Row]:
    """Of one to four tokens, as they are and padded."""
    draw, rows = np.random.default_rng(0), []
    for length in (1, 2, 3, 4):
        for width in (length, length + 1, 9):
            ids, mask = draw.choice(WORDS, (1, width)), np.zeros((1, width), np.int64)
            mask[:, :length] = 1
            rows.append((ids, mask))
    return rows


def eager(model: TrainedModel, rows: list[Row]) -> np.ndarray:
    """Of the tokens alone, which eager PyTorch takes one of."""
    with torch.inference_mode():
        kept = [torch.from_numpy(ids[:, : mask.sum()]) for ids, mask in rows]
        return np.stack([model.module(ids, torch.ones_like(ids))[0].numpy() for ids in kept])


def test_the_manifest_says_so_in_a_version_of_its_own(single, fleet):
    for path in (single, fleet):
        manifest = json.loads((path / "manifest.json").read_text())
        assert (manifest["min_length"], manifest["format_version"]) == (3, 2)
        assert open_bundle(path).min_length == 3


def test_short_rows_get_eagers_logits_alone_and_in_a_batch(models, single):
    rows = short_rows()
    expected = eager(models["three"], rows)
    assert expected.std(axis=0).min() > 1e-3
    with load(single, threads=1) as model:
        for (ids, mask), logits in zip(rows, expected, strict=True):
            assert np.abs(model.logits(ids, mask)[0] - logits).max() < 1e-5
        wide = [(ids, mask) for ids, mask in rows if ids.shape[1] == 9]
        batch = model.logits(*(np.concatenate(each) for each in zip(*wide, strict=True)))
        assert np.abs(batch - eager(models["three"], wide)).max() < 1e-5


def test_every_task_of_a_fleet_gives_eagers_logits(models, fleet):
    with load(fleet, threads=1) as model:
        for name in model.tasks:
            got = np.stack(model.rows(short_rows(), name))
            assert np.abs(got - eager(models[name], short_rows())).max() < 1e-5


@pytest.mark.parametrize("keep_padding", [False, True])
def test_devices_give_eagers_logits(models, single, keep_padding):
    rows = short_rows()
    bundle = open_bundle(single)
    devices = [LocalDevice()] + ([StockDevice()] if bundle.manifest["lowering"] == "portable" else [])
    for device in devices:
        got = device.run(single, bundle.program, rows, keep_padding=keep_padding)
        assert np.abs(np.stack(got) - eager(models["three"], rows)).max() < 1e-5


def test_the_command_answers_to_rows_of_two_tokens(models, single, tmp_path):
    rows = [row for row in short_rows() if row[0].shape[1] == 2]
    write_rows(tmp_path / "ids.safetensors", rows)
    for command in ("run", "bench"):
        words = [build_runtime("host") / COMMAND, command, single, "--ids", tmp_path / "ids.safetensors"]
        done = subprocess.run([*words, *(["--json"] if command == "run" else [])], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        if command == "run":
            got = [row["logits"] for row in json.loads(done.stdout)["rows"]]
            assert np.abs(np.array(got) - eager(models["three"], rows)).max() < 1e-5


def test_bench_pads_an_input_of_one_token(single, fleet):
    plan = BenchPlan(length=1, threads=1, seconds=0.2, loads=1, lengths=(2, 12))
    alone = bench_bundle(single, plan=plan)
    of_fleet = bench_bundle(fleet, task="pair", baseline=single, plan=plan)
    for result in (alone, of_fleet):
        assert (result.length, [each["length"] for each in result.lengths]) == (1, [2, 12])
        assert result.latency_ms["p50"] > 0
    assert (alone.task, of_fleet.task) == (None, "pair")
    assert of_fleet.ratio is not None


def test_a_fleet_is_measured_by_one_of_its_tasks(single, fleet, models, tmp_path):
    plan = BenchPlan(length=5, threads=1, seconds=0.2, loads=1, operators=True)
    by_name = bench_bundle(fleet, task="three", plan=plan, html=tmp_path / "page.html").as_json()
    assert by_name["task"] == "three"
    assert "three" in (tmp_path / "page.html").read_text()
    shutil.copy(fleet / "tasks" / "three.safetensors", tmp_path / "three.file")
    assert bench_bundle(fleet, task=str(tmp_path / "three.file"), plan=plan).runs > 0
    against = bench_bundle(single, task="three", baseline=fleet, plan=plan)
    assert against.ratio is not None
    with pytest.raises(UsageError, match="holds several tasks: three, pair, score"):
        bench_bundle(fleet, plan=plan)
    with pytest.raises(UsageError, match="holds several tasks: three, pair, score"):
        bench_bundle(single, baseline=fleet, plan=plan)
    with pytest.raises(UsageError, match="has no task `four`"):
        bench_bundle(fleet, task="four", plan=plan)


def test_a_short_row_is_counted_as_the_program_takes_it(single, monkeypatch):
    """By the command here, without the emulator that counts."""
    ran = []

    def run(self, command, marks, environment):
        ran.append(subprocess.run([*map(str, command)], capture_output=True, text=True))

    monkeypatch.setattr(counting.Emulation, "_count", run)
    monkeypatch.setattr(counting, "difference", lambda *_: None)
    monkeypatch.setattr(counting, "joined", lambda _: None)
    bundle, ones = open_bundle(single), np.ones((1, 1), np.int64)
    emulation = counting.Emulation("cortex-a72", Path("/"), ())
    emulation.run_warm(build_runtime("host") / COMMAND, bundle.program, pad(5 * ones, ones, bundle.min_length))
    assert [done.returncode for done in ran] == [0, 0], ran


def test_a_trace_takes_every_length_and_says_nothing(models, tmp_path):
    paths = save_tasks({"three": models["three"]}, tmp_path)
    out = compiled(tmp_path / "bundle", paths.values(), format="torchscript")
    manifest = json.loads((out / "manifest.json").read_text())
    assert "min_length" not in manifest
    assert manifest["format_version"] == 1
    got = StockDevice().run(out, open_bundle(out).program, short_rows())
    assert np.abs(np.stack(got) - eager(models["three"], short_rows())).max() < 1e-5
