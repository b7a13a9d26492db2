"""Parquet, Arrow and saved folders. The saved ones were written by `datasets` 5.2.0 with pyarrow 26.0.1."""

import decimal
import json
import shutil
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

from spartanc.errors import UsageError
from spartanc.runtime_py.data import Columns, Example, read_examples
from spartanc.runtime_py.data.reading import data_digest

SAVED = Path(__file__).parent / "saved"
SENTENCES = Columns(text="sentence")


def write(folder, columns, name="a"):
    """The same table as Parquet, as an Arrow file and as an Arrow stream."""
    table = pyarrow.table(columns)
    parquet.write_table(table, folder / f"{name}.parquet")
    with pyarrow.ipc.new_file(str(folder / f"{name}.arrow"), table.schema) as file:
        file.write_table(table)
    with pyarrow.ipc.new_stream(str(folder / f"{name}-stream.arrow"), table.schema) as stream:
        stream.write_table(table)
    return [folder / f"{name}.parquet", folder / f"{name}.arrow", folder / f"{name}-stream.arrow"]


def test_every_kind_gives_the_same_rows(tmp_path):
    columns = {"other": [1, 2], "label": ["x", None], "text_pair": [None, "c"], "text": ["a", "b"]}
    for path in write(tmp_path, columns):
        examples = read_examples(path)
        assert examples == [Example("a", None, "x"), Example("b", "c", None)]
        assert [example.row for example in examples] == [1, 2]


@pytest.mark.parametrize(
    ("values", "kind", "labels"),
    [
        ([0, 1, None], pyarrow.int8(), ["0", "1", None]),
        ([1.1, 1.0, float("nan")], pyarrow.float64(), ["1.1", "1.0", None]),
        ([1.1, 1e-7, 3e20], pyarrow.float32(), ["1.1", "0.0000001", "300000000000000000000.0"]),
        ([decimal.Decimal("1.10")], pyarrow.decimal128(5, 2), ["1.10"]),
        (["007", "1_1"], pyarrow.large_string(), ["007", "1_1"]),
        (["ham", "spam", "ham"], "dictionary", ["ham", "spam", "ham"]),
    ],
)
def test_labels_are_spelled(tmp_path, values, kind, labels):
    column = pyarrow.array(values).dictionary_encode() if kind == "dictionary" else pyarrow.array(values, kind)
    for path in write(tmp_path, {"text": ["t"] * len(values), "label": column}):
        assert [example.label for example in read_examples(path)] == labels


def test_lists_of_labels_in_every_kind(tmp_path):
    for values, labels in (
        ([["x", "y"], [], None], [("x", "y"), (), None]),
        ([[1, 2], [3], []], [("1", "2"), ("3",), ()]),
    ):
        for path in write(tmp_path, {"text": ["t"] * 3, "labels": pyarrow.array(values)}):
            assert [example.label for example in read_examples(path)] == labels
    for path in write(tmp_path, {"text": ["t", "u"], "labels": ["x|y", ""]}):
        assert [example.label for example in read_examples(path)] == [None, None]
        assert [example.label for example in read_examples(path, Columns(separator="|"))] == [("x", "y"), ()]
    for path in write(tmp_path, {"text": ["t"], "labels": pyarrow.array([["x", None]])}):
        with pytest.raises(UsageError, match="row 1: each of the labels must be a string or a number"):
            read_examples(path)


def test_class_names_of_lists_as_datasets_keeps_them(tmp_path):
    names = {"feature": {"names": ["calm", "glad"], "_type": "ClassLabel"}, "_type": "List"}
    about = json.dumps({"info": {"features": {"text": {"dtype": "string", "_type": "Value"}, "labels": names}}})
    table = pyarrow.table({"text": ["t", "u"], "labels": pyarrow.array([[1, 0], []], pyarrow.list_(pyarrow.int64()))})
    parquet.write_table(table.replace_schema_metadata({"huggingface": about}), tmp_path / "a.parquet")
    assert [example.label for example in read_examples(tmp_path / "a.parquet")] == [("glad", "calm"), ()]


def test_folders_that_datasets_saved():
    train = [Example("a dull film", None, "negative"), Example("a warm evening", None, "positive")]
    test = [Example("naïve café", None, None)]  # -1 is no label there
    assert read_examples(SAVED / "reviews" / "train", SENTENCES) == train
    assert read_examples(SAVED / "reviews" / "test", SENTENCES) == test
    assert read_examples(SAVED / "reviews.parquet", SENTENCES) == train + test
    with pytest.raises(UsageError, match="holds several splits"):
        read_examples(SAVED / "reviews", SENTENCES)
    with pytest.raises(UsageError, match="`--text-column sentence`"):
        read_examples(SAVED / "reviews" / "train")


def test_digest_of_a_folder_is_that_of_its_data(tmp_path):
    shutil.copytree(SAVED / "reviews" / "train", tmp_path / "same")
    (tmp_path / "same" / "note.txt").write_text("x")
    digest = data_digest(SAVED / "reviews" / "train")
    assert data_digest(tmp_path / "same") == digest != data_digest(SAVED / "reviews" / "test")


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"text": ["a", None]}, "row 2: `text` must be a string, it is missing or null"),
        ({"text": [1, 2]}, "row 1: `text` must be a string, got `1`"),
        ({"text": ["a"], "label": [{"x": 1}]}, "row 1: `label` must be a string or a number"),
        ({"text": ["a"], "label": [True]}, "row 1: `label` must be a string or a number, got `true`"),
        ({"text": ["a"], "label": [float("inf")]}, "row 1: `label` must be a string or a number"),
        ({"review": ["a"]}, "no column `text`, got `review`"),
        ({"text": pyarrow.array([], pyarrow.string())}, "holds no example"),
        ({"text": pyarrow.array([b"a", b"\xed\xa0\xbd"]).view(pyarrow.string())}, "row 2: not UTF-8 text"),
    ],
)
def test_wrong_value_is_named_by_its_row(tmp_path, columns, said):
    for path in write(tmp_path, columns):
        with pytest.raises(UsageError) as caught:
            read_examples(path)
        assert said in caught.value.message
        assert str(path) in caught.value.message


def test_damaged_files_and_folders(tmp_path):
    whole = write(tmp_path, {"text": ["a"] * 1000})
    for path in whole:
        path.write_bytes(path.read_bytes()[:-200])
        with pytest.raises(UsageError, match="not a readable table"):
            read_examples(path)
    shutil.copytree(SAVED / "reviews" / "train", tmp_path / "folder")
    (tmp_path / "folder" / "state.json").write_text('{"_data_files": [{"filename": "../a.arrow"}]}')
    with pytest.raises(UsageError, match="names no data files"):
        read_examples(tmp_path / "folder")
    with pytest.raises(UsageError, match="cannot read data file"):
        read_examples(tmp_path / "none.parquet")
