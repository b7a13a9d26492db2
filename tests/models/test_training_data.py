"""What a training reads: held out rows, and development rows by the training file's decision."""

import json
from collections import Counter
from pathlib import Path

import pytest

from spartanc.errors import UsageError
from spartanc.models.holdout import hold_out
from spartanc.models.settings import TrainRequest, TrainSettings
from spartanc.models.training_data import read_task
from spartanc.runtime_py.data import Columns, Example
from spartanc.runtime_py.task_types.decision import decide_task


def write(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def read(data, eval=None, say=lambda line: None, seed=0, **options):
    settings = TrainSettings(seed=seed)
    return read_task(TrainRequest(Path("encoder"), data, eval, Path("out.pt"), settings=settings, **options), say)


def labelled(**counts):
    return [Example(f"{label} {number}", None, label) for label, count in counts.items() for number in range(count)]


def test_a_tenth_of_every_class_is_held_out_by_the_seed():
    examples = labelled(a=200, b=40, c=8, d=1)
    decision = decide_task(examples, "f")
    train, held = hold_out(examples, decision, 0, "f")
    assert Counter(example.label for example in held) == {"a": 20, "b": 4, "c": 1}
    assert sorted([*train, *held], key=examples.index) == examples
    assert train == [example for example in examples if example not in held]
    assert hold_out(examples, decision, 0, "f") == (train, held) != hold_out(examples, decision, 1, "f")


def test_rows_of_one_text_stay_on_one_side():
    examples = [example for example in labelled(a=50, b=50) for _ in range(3)]
    train, held = hold_out(examples, decide_task(examples, "f"), 0, "f")
    assert len(held) == 30
    assert not {example.text for example in train} & {example.text for example in held}


def test_rows_of_a_regression_are_held_out_together():
    examples = [Example(f"text {number}", None, f"{number}.5") for number in range(50)]
    train, held = hold_out(examples, decide_task(examples, "f"), 0, "f")
    assert (len(train), len(held)) == (45, 5)


def test_too_few_rows_to_spare_any():
    examples = labelled(a=1, b=1)
    with pytest.raises(UsageError, match="`f` has too few rows to hold some out"):
        hold_out(examples, decide_task(examples, "f"), 0, "f")


def test_what_was_held_out_and_what_is_odd_is_said(tmp_path):
    rows = [{"text": f"{label} {number}", "label": label} for label in "ab" for number in range(20)]
    data = write(
        tmp_path / "a.jsonl", *rows, rows[0], {"text": rows[1]["text"], "label": "b"}, {"text": " ", "label": "a"}
    )
    lines = []
    found = read(data, say=lines.append, seed=3)
    assert lines[0] == "classification: 2 classes, `a`, `b`"
    assert found.held_out == f"{len(found.eval_examples)} of 43 rows, drawn by class with seed 3"
    assert lines[1] == f"no development file: {found.held_out}, are held out"
    assert lines[2] == f"{data}: of 43 rows 1 empty, 1 duplicate, 2 contradictory"
    assert found.counts == {"train": {"rows": 43, "empty": 1, "duplicate": 1, "contradictory": 2}}
    assert len(found.train_examples) + len(found.eval_examples) == 43


def test_development_rows_are_read_by_the_training_rows_decision(tmp_path):
    numbers = write(tmp_path / "a.jsonl", *({"text": "t", "label": label} for label in (1.5, 2.5)))
    whole = write(tmp_path / "b.jsonl", *({"text": "t", "label": label} for label in (1, 2)))
    found = read(numbers, whole)
    assert found.task_type.name == "regression" and (found.mean, found.deviation) == (2.0, 0.5)
    assert found.eval_targets == [-2.0, 0.0]
    with pytest.raises(UsageError, match=r"line 1: label `1\.5` is not one of the model's"):
        read(whole, numbers)


def test_spam_as_0_and_1_in_any_form_is_one_task(tmp_path):
    texts = [f"text {number}" for number in range(6)]
    flags = [0, 1, 0, 1, 1, 0]
    (tmp_path / "a.csv").write_text("text,label\n" + "".join(f"{t},{f}\n" for t, f in zip(texts, flags, strict=True)))
    write(tmp_path / "b.jsonl", *({"text": t, "label": f} for t, f in zip(texts, flags, strict=True)))
    write(tmp_path / "c.jsonl", *({"text": t, "label": str(f)} for t, f in zip(texts, flags, strict=True)))
    names = ["ham", "spam"]
    write(tmp_path / "d.jsonl", *({"text": t, "label": names[f]} for t, f in zip(texts, flags, strict=True)))
    found = [read(tmp_path / name, tmp_path / name) for name in ("a.csv", "b.jsonl", "c.jsonl", "d.jsonl")]
    assert [each.task_type.name for each in found] == ["classification"] * 4
    assert [each.labels for each in found] == [("0", "1")] * 3 + [("ham", "spam")]
    assert [each.train_targets for each in found] == [flags] * 4


def test_development_rows_have_as_many_texts(tmp_path):
    one = write(tmp_path / "a.jsonl", {"text": "t", "label": "x"}, {"text": "u", "label": "y"})
    two = write(
        tmp_path / "b.jsonl",
        {"text": "t", "text_pair": "u", "label": "x"},
        {"text": "v", "text_pair": "w", "label": "y"},
    )
    assert read(one, one).has_pairs is False and read(two, two).has_pairs is True
    with pytest.raises(UsageError, match="line 1: no second text"):
        read(two, one)
    with pytest.raises(UsageError, match="line 1: a second text"):
        read(one, two)


def test_columns_are_those_of_both_files(tmp_path):
    data = write(tmp_path / "a.jsonl", {"review": "t", "stars": 1}, {"review": "u", "stars": 5})
    found = read(data, data, columns=Columns(text="review", label="stars"))
    assert found.labels == ("1", "5") and found.eval_examples[0].text == "t"
