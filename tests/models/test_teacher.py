"""Learning from a teacher, and what does not fit a slimmer encoder."""

import pytest
import torch

from spartanc.base.targets.catalogue import find_target
from spartanc.errors import UsageError
from spartanc.models import teacher as teaching
from spartanc.models.checkpoint import load_model
from spartanc.models.memory import SpartanConfig
from spartanc.models.settings import TrainRequest, TrainSettings
from spartanc.models.slim.request import SlimRequest
from spartanc.models.slim.slim import slim
from spartanc.models.training import train
from spartanc.models.training_data import read_task
from spartanc.runtime_py.task_types.classification import CLASSIFICATION
from spartanc.runtime_py.task_types.regression import REGRESSION
from support.encoders import sentiment, write_encoder, write_examples

SMALL = SpartanConfig(parents=2, cells=4, top_k=1)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """An encoder, its slim form, rows, and a model over the dense one."""
    folder = tmp_path_factory.mktemp("teacher")
    encoder = write_encoder(folder / "encoder", intermediate_size=128)
    rows = write_examples(folder / "rows.jsonl", sentiment(120, 0))
    board = find_target("rpi4")
    slim(SlimRequest(encoder, (rows,), board, folder / "slim", speedup=1.1, length=16, steps=4))
    train(request(folder, encoder=encoder, out="dense.pt"))
    return folder


def request(folder, *, encoder=None, rows="rows.jsonl", out="model.pt", **changes):
    settings = TrainSettings(epochs=1, max_length=16)
    given = {"settings": settings, "adapt": False, "spartan": SMALL, "overwrite": True}
    return TrainRequest(encoder or folder / "slim", folder / rows, None, folder / out, **(given | changes))


def test_the_distance_to_the_teacher_is_the_divergence_at_a_temperature():
    torch.manual_seed(0)
    mine, theirs = torch.randn(5, 3), torch.randn(5, 3)
    p, q = (theirs / 2).softmax(-1), (mine / 2).softmax(-1)
    wanted = 4 * (p * (p / q).log()).sum(-1).mean()
    torch.testing.assert_close(teaching.distance(CLASSIFICATION, mine, theirs), wanted)
    torch.testing.assert_close(teaching.distance(REGRESSION, mine, theirs), (mine - theirs).square().mean())
    assert float(teaching.distance(CLASSIFICATION, mine, mine)) == pytest.approx(0, abs=1e-6)
    half = teaching.with_teacher(CLASSIFICATION, torch.tensor(3.0), mine, theirs)
    torch.testing.assert_close(half, 1.5 + wanted / 2)


def test_every_row_gets_the_teacher_s_answer_to_it(made):
    data = read_task(request(made))
    teacher = teaching.load_teacher(made / "dense.pt", data)
    rows = encoded(data, teacher)
    teaching.add_answers(rows, data, teacher, 16)
    for row in rows.rows[:20]:
        ids = torch.tensor([row["input_ids"]])
        with torch.no_grad():
            wanted = teacher.module(ids, torch.ones_like(ids))[0]
        torch.testing.assert_close(torch.tensor(row["teacher"]), wanted, atol=1e-4, rtol=1e-4)


def encoded(data, model):
    from spartanc.models.examples import EncodedExamples
    from spartanc.runtime_py.text import TextEncoder

    return EncodedExamples(data.train_examples, data.train_targets, TextEncoder(model.tokenizer, 16))


def test_a_task_on_a_slim_encoder_learns_from_the_dense_one_s(made):
    alone = train(request(made, out="alone.pt"))
    taught = train(request(made, out="taught.pt", teacher=made / "dense.pt"))
    assert alone.steps == taught.steps
    one, other = load_model(made / "alone.pt"), load_model(made / "taught.pt")
    assert any(
        not torch.equal(a, b) for a, b in zip(one.task_tensors().values(), other.task_tensors().values(), strict=True)
    )


def test_numbers_are_taught_in_the_unit_of_the_rows(made):
    write_examples(made / "scores.jsonl", sentiment(120, 0, scores=True))
    numbers = {"rows": "scores.jsonl", "problem": "regression"}
    train(request(made, encoder=made / "encoder", out="scorer.pt", **numbers))
    data = read_task(request(made, **numbers))
    teacher = teaching.load_teacher(made / "scorer.pt", data)
    rows = encoded(data, teacher)
    teaching.add_answers(rows, data, teacher, 16)
    answers = torch.tensor([row["teacher"] for row in rows.rows])
    assert answers.shape == (len(rows), 1)
    assert answers.abs().mean() < 5  # labels are from 50 to 61
    train(request(made, out="taught-scorer.pt", teacher=made / "scorer.pt", **numbers))


def test_a_teacher_of_another_task_is_refused(made):
    other = ({"text": row["text"], "label": row["label"].upper()} for row in sentiment(120, 0))
    write_examples(made / "other.jsonl", other)
    with pytest.raises(UsageError, match="gives `negative, positive`, the rows have `NEGATIVE, POSITIVE`"):
        train(request(made, rows="other.jsonl", teacher=made / "dense.pt"))


def test_memories_of_the_dense_encoder_do_not_start_a_task_on_the_slim_one(made):
    with pytest.raises(UsageError, match="on the encoder before it was slimmed") as refused:
        train(request(made, init_from=made / "dense.pt"))
    assert "--teacher" in refused.value.hint


def test_memories_of_another_encoder_are_refused(made, tmp_path):
    other = write_encoder(tmp_path / "other", intermediate_size=128)
    from safetensors.torch import load_file, save_file

    tensors = load_file(other / "model.safetensors")
    tensors["encoder.layer.0.output.dense.weight"] += 1
    save_file(tensors, other / "model.safetensors")
    with pytest.raises(UsageError, match="was trained on another encoder"):
        train(request(made, encoder=other, init_from=made / "dense.pt"))
