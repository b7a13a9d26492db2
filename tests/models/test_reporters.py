"""Reports to TensorBoard and Weights & Biases: the same numbers, none twice, and a hint if a package is missing."""

import importlib.util
import json

import pytest

from spartanc.errors import Interrupted, MissingToolError, UsageError
from spartanc.models.memory import SpartanConfig
from spartanc.models.reporters import check_reporter
from spartanc.models.settings import TrainRequest, TrainSettings
from spartanc.models.training import train
from support.encoders import sentiment, write_encoder, write_examples


@pytest.fixture
def files(tmp_path):
    encoder = write_encoder(tmp_path / "encoder")
    data = write_examples(tmp_path / "train.jsonl", sentiment(32, 1))
    return encoder, data, write_examples(tmp_path / "dev.jsonl", sentiment(16, 2))


def quick(files, out, report=None, **options):
    options |= {"settings": TrainSettings(epochs=3, batch_size=8), "adapt": False, "spartan": SpartanConfig(4, 8, 2)}
    return train(TrainRequest(*files, out, **options), report or (lambda line: None))


def test_a_package_that_is_missing_is_named_before_any_work(files, tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for name in ("tensorboard", "wandb"):
        with pytest.raises(MissingToolError, match=f"needs the package {name}.*\nhint: pip install {name}") as caught:
            quick(files, tmp_path / "model.pt", report_to=name)
        assert caught.value.exit_code == 5
    assert not list(tmp_path.glob("*model.*"))
    with pytest.raises(UsageError, match="`--report-to mlflow` is not one of none, tensorboard, wandb"):
        check_reporter("mlflow")


def test_tensorboard_gets_every_evaluation_once(files, tmp_path, monkeypatch):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    monkeypatch.delenv("TENSORBOARD_LOGGING_DIR", raising=False)

    def interrupt(line):
        if line.startswith("epoch 2"):
            raise KeyboardInterrupt

    quick(files, tmp_path / "model.pt", report_to="tensorboard")
    with pytest.raises(Interrupted):
        quick(files, tmp_path / "model.pt", interrupt, report_to="tensorboard", overwrite=True)
    result = quick(files, tmp_path / "model.pt", report_to="tensorboard", overwrite=True, resume=True)
    events = accumulator.EventAccumulator(str(tmp_path / "model.tensorboard")).Reload()
    for name in ("accuracy", "loss"):
        shown = [(event.step, event.value) for event in events.Scalars(f"eval/{name}")]
        assert [step for step, _ in shown] == [4, 8, 12]
        assert [value for _, value in shown] == pytest.approx([entry[name] for entry in result.history])
    assert [event.step for event in events.Scalars("train/learning_rate")] == [4, 8, 12]
    settings = events.Tensors("settings/text_summary")[0].tensor_proto.string_val[0]
    assert json.loads(settings)["memory parents"] == 4


def test_wandb_writes_here_alone_when_it_is_offline(files, tmp_path, monkeypatch, capfd):
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    monkeypatch.setenv("WANDB_SILENT", "true")
    quick(files, tmp_path / "model.pt", report_to="wandb")
    assert capfd.readouterr().out == ""
    assert wandb.run is None
    assert len(list(tmp_path.glob("wandb/offline-run-*/*.wandb"))) == 1
