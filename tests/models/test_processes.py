"""A training on two processes, as the docs start it: the course of one process, one writer, and it goes on."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from spartanc.errors import UsageError
from spartanc.models.checkpoint import load_model
from spartanc.models.training import train
from spartanc.models.training_metrics import metrics_path
from support.cli import spartanc_json
from support.encoders import of_all_lengths, sentiment, write_encoder, write_examples

DOCS = (Path(__file__).parents[2] / "docs" / "training.md").read_text()
(LAUNCH,) = re.findall(r"^(accelerate launch .*-m spartanc) train", DOCS, re.MULTILINE)
ALONE = {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}


def start(words, **pipes):
    command = [sys.executable, "-m", "accelerate.commands.launch", *LAUNCH.split()[2:], "train", *map(str, words)]
    return subprocess.Popen(command, env=os.environ | ALONE, text=True, **pipes)


@pytest.mark.parametrize(
    ("rows", "more", "epochs", "steps"),
    [
        (300, ["--epochs", "3"], [1, 2, 3], [19, 38, 57]),
        (90, [], [3.3333, 6.6667, 10, 13.3333, 16.6667, 20], [20, 40, 60, 80, 100, 120]),  # few, so within epochs
    ],
    ids=["at an epoch's end", "within an epoch"],
)
def test_two_processes_take_the_course_of_one_and_go_on_after_a_kill(tmp_path, rows, more, epochs, steps):
    """In batches of 16, lengths that differ: the last batch of an epoch is a part of one."""
    encoder = write_encoder(tmp_path / "encoder")
    data = write_examples(tmp_path / "train.jsonl", of_all_lengths(rows, 12, 1))
    dev = write_examples(tmp_path / "dev.jsonl", of_all_lengths(75, 12, 2))
    words = ["--backbone", encoder, "--data", data, "--eval", dev, "--batch-size", "16", *more]
    words += ["--cells", "8", "--parents", "4", "--top-k", "2", "--class-weights", "balanced"]
    words += ["--arithmetic", "fp32"]  # in int8 sums in another order may round otherwise, and that grows
    out = tmp_path / "two.pt"

    training = start([*words, "--out", out], stderr=subprocess.PIPE)
    said = []
    for line in training.stderr:
        said.append(line)
        if line.startswith(f"epoch {epochs[1]:.3g}:"):  # the first one's checkpoint is whole, and perhaps this one's
            workers = Path(f"/proc/{training.pid}/task/{training.pid}/children").read_text().split()
            assert len(workers) == 2
            os.kill(int(workers[1]), signal.SIGKILL)  # the launcher ends the other one
    assert training.wait(timeout=60) != 0
    assert sum(line.startswith(f"epoch {epochs[0]:.3g}:") for line in said) == 1, "".join(said)
    assert not out.exists()

    whole = spartanc_json("train", *words, "--out", tmp_path / "one.pt")
    resumed = start([*words, "--out", out, "--json", "--resume"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    shown, told = resumed.communicate(timeout=120)
    assert resumed.returncode == 0, told
    assert told.count("2 processes share every batch of 16 rows") == 1
    (checkpoint,) = re.findall(r"^going on from checkpoint-(\d+)$", told, re.MULTILINE)
    assert int(checkpoint) in steps[:2]
    assert [entry["epoch"] for entry in json.loads(shown)["history"]] == epochs  # one document, of one process

    lines = [json.loads(line) for line in metrics_path(out).read_text().splitlines()]
    alone = [json.loads(line) for line in metrics_path(tmp_path / "one.pt").read_text().splitlines()]
    assert [line["step"] for line in lines] == [line["step"] for line in alone] == steps
    for line, other in zip(lines, alone, strict=True):
        assert line["loss"] == pytest.approx(other["loss"], abs=1e-3)
        assert line["training_loss"] == pytest.approx(other["training_loss"], abs=1e-3)
    assert whole["best"] == pytest.approx(json.loads(shown)["best"], abs=0.03)
    one, two = (load_model(path).module.state_dict() for path in (tmp_path / "one.pt", out))
    assert max((one[name] - two[name]).abs().max() for name in one if one[name].is_floating_point()) < 0.01
    assert sorted(path.name for path in tmp_path.glob("*two*")) == ["two.metrics.jsonl", "two.pt"]
    assert not list(tmp_path.glob(".two*"))


def test_processes_that_cannot_share_a_batch_are_refused(tmp_path, monkeypatch):
    from spartanc.models.memory import SpartanConfig
    from spartanc.models.settings import TrainRequest, TrainSettings

    monkeypatch.setenv("WORLD_SIZE", "3")
    encoder = write_encoder(tmp_path / "encoder")
    data = write_examples(tmp_path / "train.jsonl", sentiment(16, 1))
    request = TrainRequest(
        encoder, data, data, tmp_path / "m.pt", TrainSettings(batch_size=8), spartan=SpartanConfig(4, 8, 2)
    )
    with pytest.raises(UsageError, match="batches of 8 rows cannot be shared by 3 processes\nhint: --batch-size"):
        train(request, lambda line: None)
    assert torch.distributed.is_initialized() is False
