"""How trainings end: diverged, without room, interrupted, gone on with, over what stood there before."""

import json
import os
import signal
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from spartanc.errors import GateError, Interrupted, UsageError
from spartanc.models.checkpoint import load_model, save_model
from spartanc.models.memory import SpartanConfig
from spartanc.models.settings import TrainRequest, TrainSettings
from spartanc.models.training import train
from support.cli import spartanc
from support.encoders import sentiment, write_encoder, write_examples
from support.models import tiny_model

MEMORY = SpartanConfig(parents=4, cells=8, top_k=2)


@pytest.fixture
def files(tmp_path):
    encoder = write_encoder(tmp_path / "encoder")
    data = write_examples(tmp_path / "train.jsonl", sentiment(32, 1))
    dev = write_examples(tmp_path / "dev.jsonl", sentiment(16, 2))
    return encoder, data, dev


def quick(files, out, report=None, **options):
    options = {"settings": TrainSettings(epochs=2), "adapt": False, "spartan": MEMORY} | options
    return train(TrainRequest(*files, out, **options), report or (lambda line: None))


def interrupt_at(start):
    def report(line):
        if line.startswith(start):
            raise KeyboardInterrupt

    return report


def interrupted(files, out, at="epoch 2", **options):
    with pytest.raises(Interrupted) as caught:
        quick(files, out, interrupt_at(at), **options)
    return caught.value


def test_a_training_that_diverges_ends_at_once_and_leaves_what_stood_there(files, tmp_path):
    (tmp_path / "model.pt").write_bytes(b"an earlier model")
    settings = TrainSettings(epochs=3, batch_size=8).scaled(1e30)
    lines = []
    with pytest.raises(GateError, match=r"diverged: the loss became `(nan|inf)` in step \d+\n?"):
        quick(files, tmp_path / "model.pt", lines.append, settings=settings, overwrite=True)
    assert not any(line.startswith("epoch 2") for line in lines)
    assert (tmp_path / "model.pt").read_bytes() == b"an earlier model"
    assert not list(tmp_path.glob(".model.pt*"))


def test_weights_that_are_not_finite_are_not_kept(files, tmp_path, monkeypatch):
    """The last step's weights are in no loss."""
    from torch.optim import AdamW

    step = AdamW.step

    def overflow(self, *arguments, **named):
        step(self, *arguments, **named)
        self.steps = getattr(self, "steps", 0) + 1
        if self.steps == 4:  # the last of the first epoch
            with torch.no_grad():
                self.param_groups[0]["params"][0][0, 0] = float("inf")

    monkeypatch.setattr(AdamW, "step", overflow)
    with pytest.raises(GateError, match=r"memory\.parents` holds NaN or infinite values after step 4"):
        quick(files, tmp_path / "model.pt")
    assert not list(tmp_path.glob("*model.pt*"))


def test_nothing_is_saved_that_cannot_be_loaded(tmp_path):
    save_model(tiny_model(), tmp_path / "model.pt")
    before = (tmp_path / "model.pt").read_bytes()
    model = tiny_model()
    with torch.no_grad():
        model.module.memories()[0].values[0, 0] = float("nan")
    with pytest.raises(UsageError, match=r"was not written.*memory\.values` holds NaN") as caught:
        save_model(model, tmp_path / "model.pt")
    assert str(tmp_path / "model.pt") in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["model.pt"]
    assert (tmp_path / "model.pt").read_bytes() == before


def test_a_checkpoint_that_cannot_be_written_ends_in_one_error(files, tmp_path, monkeypatch):
    from transformers import Trainer

    def full(self, *arguments, **named):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Trainer, "_save_rng_state", full)
    with pytest.raises(UsageError, match=r"cannot write the checkpoint .*No space left on device") as caught:
        quick(files, tmp_path / "model.pt")
    assert "--resume" in str(caught.value)
    assert not list(tmp_path.glob("*model.*"))


@pytest.mark.skipif(os.getuid() != 0, reason="mounts a file system of 64 kB, which takes root")
def test_a_full_disk_ends_in_one_error(files, tmp_path):
    (tmp_path / "full").mkdir()
    command = (
        f"mount -t tmpfs -o size=64k tmpfs {tmp_path}/full && {sys.executable} -m spartanc train"
        f" --backbone {files[0]} --data {files[1]} --eval {files[2]} --epochs 1 --out {tmp_path}/full/model.pt"
    )
    done = subprocess.run(["unshare", "-m", "bash", "-c", command], capture_output=True, text=True, timeout=300)
    if "unshare failed" in done.stderr or "mount:" in done.stderr:
        pytest.skip(f"no file system may be mounted here: {done.stderr.strip()[:100]}")
    assert done.returncode == 2, done.stderr
    assert "error: cannot write the checkpoint" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_existing_model_is_replaced_only_when_that_is_asked_for(files, tmp_path):
    (tmp_path / "model.pt").write_bytes(b"an earlier model")
    with pytest.raises(UsageError, match="exists\nhint: --overwrite"):
        quick(files, tmp_path / "model.pt")
    with pytest.raises(UsageError, match="exists"):
        quick(files, tmp_path / "model.pt", resume=True)
    assert (tmp_path / "model.pt").read_bytes() == b"an earlier model"
    quick(files, tmp_path / "model.pt", overwrite=True)
    assert load_model(tmp_path / "model.pt").labels == ("negative", "positive")


def test_an_interruption_says_what_is_there(files, tmp_path):
    early = interrupted(files, tmp_path / "model.pt", "epoch 1")
    assert "before the first checkpoint; nothing was left behind" in str(early)
    assert not early.goes_on
    assert not list(tmp_path.glob("*model.*"))
    late = interrupted(files, tmp_path / "model.pt")
    assert "checkpoint-4` holds the training up to epoch 1" in str(late)
    assert late.goes_on


def test_ctrl_c_gives_the_command_to_go_on(files, tmp_path):
    command = [sys.executable, "-m", "spartanc", "train", "--backbone", files[0], "--data", files[1]]
    command += ["--eval", files[2], "--epochs", "400", "--out", tmp_path / "model.pt"]
    process = subprocess.Popen(
        [str(word) for word in command],
        stderr=subprocess.PIPE,
        text=True,
        # A shell's background jobs ignore SIGINT, and so would what these tests start there.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    said = ""
    for line in process.stderr:
        said += line
        if line.startswith("epoch 2:"):  # the first epoch's checkpoint is complete
            process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 130
    assert "Traceback" not in said
    assert "holds the training up to epoch" in said
    words = [f"--backbone {files[0]}", "--epochs 400", "--resume"]
    last = said.strip().splitlines()[-1]
    assert last.startswith("go on with: spartanc train ")
    assert all(word in last for word in words)


def test_resuming_refuses_another_encoder_problem_or_data(files, tmp_path):
    out = tmp_path / "model.pt"
    interrupted(files, out)
    encoder, data, dev = files

    def refused(said, given=files, **options):
        with pytest.raises(UsageError, match=f"differs from this one in: {said}"):
            quick(given, out, resume=True, **options)

    weights = load_file(encoder / "model.safetensors")
    other = {name: value + 0.25 * (name == "pooler.dense.bias") for name, value in weights.items()}
    save_file(other, encoder / "model.safetensors")
    refused("encoder weights")
    save_file(weights, encoder / "model.safetensors")
    for name, said in (("config.json", "encoder config"), ("tokenizer.json", "encoder tokenizer")):
        content = (encoder / name).read_text()
        (encoder / name).write_text(json.dumps(json.loads(content), indent=3))
        refused(said)
        (encoder / name).write_text(content)
    refused("pooling", pooling="mean")
    refused("layers", layers=1)
    refused("settings seed", settings=TrainSettings(epochs=2, seed=1))
    more = write_examples(tmp_path / "more.jsonl", sentiment(40, 3))
    refused("data train", (encoder, more, dev))
    refused("data eval", (encoder, data, more))
    scores = write_examples(tmp_path / "scores.jsonl", sentiment(32, 1, scores=True))
    refused("data eval, data train, labels, problem", (encoder, scores, scores))


def test_with_nothing_to_resume_it_says_so_and_starts(files, tmp_path):
    lines = []
    quick(files, tmp_path / "model.pt", lines.append, resume=True)
    assert any(line.startswith("nothing to resume") for line in lines)
    assert load_model(tmp_path / "model.pt").labels == ("negative", "positive")


def test_starting_anew_over_an_interrupted_training_says_so(files, tmp_path):
    interrupted(files, tmp_path / "model.pt")
    lines = []
    quick(files, tmp_path / "model.pt", lines.append)
    assert any("--resume would go on from them" in line for line in lines)


def test_help_names_the_options_of_training():
    text = spartanc("train", "--help").output
    for word in ("--pooling", "--overwrite", "--resume"):
        assert word in text


def test_a_sparsifier_of_dense_memories_is_refused(files, tmp_path):
    words = ("--backbone", files[0], "--data", files[1], "--out", tmp_path / "model.pt", "--sparsifier", "spartan")
    done = spartanc("train", *words)
    assert done.exit_code == 2 and "ask for some: --memory-sparsity" in done.stderr
