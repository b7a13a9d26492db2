"""Answers as files, read back by others than what wrote them."""

import csv
import json

import pytest
from pyarrow import parquet

from spartanc.errors import UsageError
from spartanc.runtime_py.data.writing import check_out, write_answers

CLASSES = [
    {"text": 'a, "b"\né', "label": "x", "scores": {"x": 0.75, "007": 0.25}, "expected": "007", "truncated": False},
    {"text": "c", "text_pair": "d", "label": "007", "scores": {"x": 0.25, "007": 0.75}, "truncated": True},
]
SEVERAL = [{"text": "e", "label": None, "labels": ["x", "y"], "scores": {"x": 0.75, "y": 0.875, "z": 0.125}}]
NUMBERS = [{"text": None, "label": None, "score": -2.5}]


def test_json_lines_are_the_answers(tmp_path):
    write_answers(tmp_path / "a.jsonl", CLASSES)
    assert [json.loads(line) for line in (tmp_path / "a.jsonl").read_text("utf-8").splitlines()] == CLASSES


def test_csv_has_a_column_a_class(tmp_path):
    write_answers(tmp_path / "a.csv", CLASSES)
    with open(tmp_path / "a.csv", encoding="utf-8", newline="") as file:
        first, second = csv.DictReader(file)
    assert first["text"] == CLASSES[0]["text"]
    assert (first["label"], first["score"], first["score 007"], first["expected"]) == ("x", "0.75", "0.25", "007")
    assert (second["text_pair"], second["score"], second["expected"], second["truncated"]) == ("d", "0.75", "", "True")


def test_parquet_has_types(tmp_path):
    write_answers(tmp_path / "a.parquet", CLASSES)
    first, second = parquet.read_table(tmp_path / "a.parquet").to_pylist()
    assert first["score"] == 0.75 and first["label"] == "x" and first["text_pair"] is None
    assert second["truncated"] is True and second["score x"] == 0.25


def test_several_labels_of_one_text_share_a_cell(tmp_path):
    write_answers(tmp_path / "a.csv", SEVERAL)
    assert (tmp_path / "a.csv").read_text() == (
        "text,label,score,score x,score y,score z\ne,x|y,0.875,0.75,0.875,0.125\n"
    )
    write_answers(tmp_path / "b.csv", [SEVERAL[0] | {"expected": ["z", "x"]}])
    assert (tmp_path / "b.csv").read_text().splitlines()[1].startswith("e,x|y,z|x,")
    write_answers(tmp_path / "a.parquet", SEVERAL)
    assert parquet.read_table(tmp_path / "a.parquet").to_pylist()[0]["label"] == "x|y"


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet"])
def test_regression(tmp_path, name):
    write_answers(tmp_path / name, NUMBERS)
    if name == "a.csv":
        assert (tmp_path / name).read_text() == "text,label,score\n,,-2.5\n"
    if name == "a.parquet":
        assert parquet.read_table(tmp_path / name).to_pylist() == NUMBERS


def test_what_cannot_be_written_is_refused_first(tmp_path):
    (tmp_path / "data.csv").write_text("text\na\n")
    for out, source in [("a.txt", None), ("none/a.csv", None), ("data.csv", tmp_path / "data.csv")]:
        with pytest.raises(UsageError):
            check_out(tmp_path / out, source)
    (tmp_path / "d.csv").mkdir()
    with pytest.raises(UsageError):
        check_out(tmp_path / "d.csv", None)
    with pytest.raises(UsageError, match="cannot write"):
        write_answers(tmp_path / "d.csv", NUMBERS)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["d.csv", "data.csv"]
