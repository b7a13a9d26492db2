"""The lines beside a model: one an evaluation, none twice, and none of a training that left nothing."""

import json

import pytest

from spartanc.errors import Interrupted, UsageError
from spartanc.models.memory import SpartanConfig
from spartanc.models.settings import TrainRequest, TrainSettings
from spartanc.models.training import train
from spartanc.models.training_metrics import MetricsFile, metrics_path
from support.encoders import sentiment, write_encoder, write_examples

SETTINGS = TrainSettings(epochs=3, batch_size=8)
MEASURES = {"accuracy", "macro_f1", "weighted_f1", "matthews", "loss"}
ABOUT = {"step", "epoch", "training_loss", "learning_rate", "rows_per_second", "seconds"}


@pytest.fixture
def files(tmp_path):
    encoder = write_encoder(tmp_path / "encoder")
    data = write_examples(tmp_path / "train.jsonl", sentiment(44, 1))
    return encoder, data, write_examples(tmp_path / "dev.jsonl", sentiment(16, 2))


def quick(files, out, report=None, **options):
    options = {"settings": SETTINGS, "adapt": False, "spartan": SpartanConfig(4, 8, 2)} | options
    return train(TrainRequest(*files, out, **options), report or (lambda line: None))


def lines_of(out):
    return [json.loads(line) for line in metrics_path(out).read_text().splitlines()]


def plain(lines):
    return [{key: value for key, value in line.items() if key not in ("seconds", "rows_per_second")} for line in lines]


def test_every_evaluation_is_a_line_while_the_training_runs(files, tmp_path):
    out, seen = tmp_path / "model.pt", []

    def look(line):
        if line.startswith("epoch"):
            seen.append(len(lines_of(out)))
            assert not out.exists()

    result = quick(files, out, look)
    assert seen == [1, 2, 3]
    lines = lines_of(out)
    assert result.metrics_file == str(tmp_path / "model.metrics.jsonl")
    assert all(set(line) == MEASURES | ABOUT for line in lines)
    assert [line["step"] for line in lines] == [6, 12, 18]
    for line, told in zip(lines, result.history, strict=True):
        assert all(line[name] == told[name] for name in (*MEASURES, "epoch"))
    assert [line["seconds"] for line in lines] == sorted(line["seconds"] for line in lines)
    rates = [line["learning_rate"] for line in lines]
    assert rates == sorted(rates, reverse=True) and rates[-1] == pytest.approx(SETTINGS.lr / 17, rel=0.2)
    assert all(line["rows_per_second"] > 0 and line["training_loss"] > 0 for line in lines)


def test_a_training_that_goes_on_adds_its_lines_and_doubles_none(files, tmp_path):
    quick(files, tmp_path / "whole.pt")
    out = tmp_path / "cut.pt"

    def interrupt(line):
        if line.startswith("epoch 2"):  # its line is written, its checkpoint is not
            raise KeyboardInterrupt

    with pytest.raises(Interrupted):
        quick(files, out, interrupt)
    before = lines_of(out)
    assert [line["step"] for line in before] == [6, 12]
    with metrics_path(out).open("a") as file:
        file.write('{"step": 18, "se')  # cut short by a kill
    quick(files, out, resume=True)
    after = lines_of(out)
    assert after[0] == before[0]
    assert plain(after) == plain(lines_of(tmp_path / "whole.pt"))
    assert [line["seconds"] for line in after] == sorted(line["seconds"] for line in after)


def test_another_training_of_the_same_model_starts_its_lines_anew(files, tmp_path):
    for _ in range(2):
        quick(files, tmp_path / "model.pt", overwrite=True)
    assert len(lines_of(tmp_path / "model.pt")) == 3


def test_lines_are_never_written_over_data(files, tmp_path):
    data = write_examples(tmp_path / "model.metrics.jsonl", sentiment(44, 1))
    before = data.read_bytes()
    with pytest.raises(UsageError, match=r"model\.metrics\.jsonl` is where the course"):
        quick((files[0], data, files[2]), tmp_path / "model.pt")
    assert data.read_bytes() == before


def test_what_cannot_be_written_is_said(tmp_path):
    metrics = MetricsFile(tmp_path / "none" / "model.metrics.jsonl")
    with pytest.raises(UsageError, match=r"cannot write `.*metrics\.jsonl`: No such file"):
        metrics.add({"step": 1})
