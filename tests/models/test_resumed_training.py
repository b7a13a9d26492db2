"""A training that was cut and goes on ends as if nothing had been between, wherever the cut was."""

from dataclasses import dataclass

import pytest
from transformers import Trainer

from spartanc.errors import Interrupted, UsageError
from spartanc.models.memory import SpartanConfig
from spartanc.models.settings import TrainRequest, TrainSettings
from spartanc.models.training import train
from support.encoders import of_all_lengths, sentiment, write_encoder, write_examples

pytestmark = pytest.mark.usefixtures("one_thread")

LEARNS = {"epochs": 5, "lr": 0.03, "norm_lr": 0.03}
SPARSE = LEARNS | {"memory_sparsity": 0.5}
STILL = {"lr": 1e-15, "values_lr": 1e-15, "head_lr": 1e-15, "norm_lr": 1e-15}  # the first evaluation stays the best
BY_STEPS = {"epochs": 3, "evaluations": 6, "dropout": True}  # which draws in every step
AT_THE_END = ""


@dataclass(frozen=True)
class Cut:
    """line: how the line begins at which it is cut, after an evaluation and before its checkpoint; AT_THE_END is after
    the last checkpoint. step: of the checkpoint that is there by then.
    """

    line: str
    step: int
    settings: dict
    rows: int = 96  # 12 steps an epoch
    scores: bool = False


CUTS = {
    "at an epoch's end": Cut("epoch 2:", 12, {"epochs": 3}),
    "at an epoch's end, by steps": Cut("epoch 1.5:", 12, BY_STEPS),
    "within an epoch": Cut("epoch 1.85:", 18, BY_STEPS, rows=100),
    "within the first epoch": Cut("epoch 0.923:", 6, BY_STEPS, rows=100),
    "at the end": Cut(AT_THE_END, 24, {"epochs": 2}),
    "int8, the best before": Cut("epoch 3:", 24, {"epochs": 3, "arithmetic": "int8"} | STILL, scores=True),
    "bf16, the best before": Cut("epoch 3:", 24, {"epochs": 3, "precision": "bf16"} | STILL, scores=True),
    "top-kast, moving": Cut("epoch 2:", 12, SPARSE),
    "top-kast, at rest": Cut("epoch 5:", 48, SPARSE),
    "spartan, moving": Cut("epoch 2:", 12, SPARSE | {"sparsifier": "spartan"}),
    "spartan, at rest": Cut("epoch 5:", 48, SPARSE | {"sparsifier": "spartan"}),
    "magnitude, not chosen": Cut("epoch 2:", 12, SPARSE | {"sparsifier": "magnitude"}),
    "magnitude, the best before": Cut("epoch 5:", 48, SPARSE | STILL | {"sparsifier": "magnitude"}),
    "patience": Cut("epoch 3:", 24, {"epochs": 9, "patience": 3} | STILL),
    "patience that has run out": Cut(AT_THE_END, 36, {"epochs": 9, "patience": 2} | STILL),
}


@pytest.fixture
def start(tmp_path):
    """Trains from files that are written once, into a folder of its own each."""
    encoder = write_encoder(tmp_path / "encoder")

    def written(name, cut, rows):
        kind = sentiment(rows, rows, scores=True) if cut.scores else of_all_lengths(rows, 12, rows)
        return write_examples(tmp_path / name, kind)

    def start(folder, cut, report=lambda line: None, resume=False):
        folder.mkdir(exist_ok=True)
        data, dev = written("train.jsonl", cut, cut.rows), written("dev.jsonl", cut, 24)
        settings, memory = TrainSettings(**cut.settings), SpartanConfig(parents=4, cells=8, top_k=2)
        request = TrainRequest(encoder, data, dev, folder / "m.pt", settings, False, memory, resume=resume)
        return train(request, report)

    return start


def interrupted(start, folder, cut, monkeypatch):
    def report(line):
        if cut.line != AT_THE_END and line.startswith(cut.line):
            raise KeyboardInterrupt

    def stop(trainer):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        if cut.line == AT_THE_END:
            patch.setattr(Trainer, "_load_best_model", stop)
        start(folder, cut, report)
    assert not (folder / "m.pt").exists()


def without_seconds(history):
    return [{name: value for name, value in entry.items() if name != "seconds"} for entry in history]


@pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS)
def test_a_training_that_was_cut_goes_on_and_ends_with_the_same_model(start, tmp_path, cut, monkeypatch):
    whole = start(tmp_path / "whole", cut)
    interrupted(start, tmp_path / "cut", cut, monkeypatch)
    (tmp_path / "cut").rename(tmp_path / "moved")
    lines = []
    resumed = start(tmp_path / "moved", cut, lines.append, resume=True)
    assert f"going on from checkpoint-{cut.step}" in lines
    assert without_seconds(resumed.history) == without_seconds(whole.history)
    assert (resumed.best, resumed.details, resumed.steps) == (whole.best, whole.details, whole.steps)
    assert (tmp_path / "moved" / "m.pt").read_bytes() == (tmp_path / "whole" / "m.pt").read_bytes()
    moments = [entry["seconds"] for entry in resumed.history]
    assert moments == sorted(moments) and moments[0] > 0 and moments[-1] <= resumed.seconds
    assert sorted(path.name for path in (tmp_path / "moved").iterdir()) == ["m.metrics.jsonl", "m.pt"]


def test_other_settings_cannot_go_on_with_a_training(start, tmp_path, monkeypatch):
    interrupted(start, tmp_path / "cut", CUTS["at an epoch's end"], monkeypatch)
    with pytest.raises(UsageError, match="differs from this one in: settings epochs"):
        start(tmp_path / "cut", Cut("", 12, {"epochs": 4}), resume=True)


def test_checkpoints_of_an_earlier_version_are_refused(start, tmp_path, monkeypatch):
    """They lack the order of rows, so that another model would come of them."""
    cut = CUTS["within an epoch"]
    interrupted(start, tmp_path / "cut", cut, monkeypatch)
    stamp = tmp_path / "cut" / ".m.pt.training" / "identity.json"
    stamp.write_text(stamp.read_text().replace('"checkpoints": 2', '"checkpoints": 1'))
    with pytest.raises(UsageError, match=r"differs from this one in: checkpoints\n.*start anew without --resume"):
        start(tmp_path / "cut", cut, resume=True)
