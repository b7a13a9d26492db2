"""Text formats: what is read, and what a wrong file says."""

import gzip
import json
import subprocess
import sys

import pytest

from spartanc.errors import UsageError
from spartanc.runtime_py.data import Columns, Example, read_examples
from spartanc.runtime_py.data.reading import data_digest


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_json_lines_keep_text_pair_and_label(tmp_path):
    path = write(
        tmp_path / "a.jsonl",
        '{"text": "one\\u2028line", "label": "x"}\n\n{"text": "a", "text_pair": "b", "label": 2.5}\r\n{"text": ""}',
    )
    assert read_examples(path) == [Example("one\u2028line", None, "x"), Example("a", "b", "2.5"), Example("")]
    assert [example.line for example in read_examples(path)] == [1, 3, 4]


def test_csv_with_the_same_columns(tmp_path):
    path = write(tmp_path / "a.csv", '\ufefftext,label,other\n"a, ""b""",x,1\n"two\nlines",y,2\n')
    assert read_examples(path) == [Example('a, "b"', None, "x"), Example("two\nlines", None, "y")]
    path = write(tmp_path / "b.csv", "text,text_pair,label\na,b,1\nc,,2.5\n")
    assert read_examples(path) == [Example("a", "b", "1"), Example("c", None, "2.5")]
    path = write(tmp_path / "c.csv", "text,label\na,1\nc,one\n")
    assert [example.label for example in read_examples(path)] == ["1", "one"]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.jsonl", "", "holds no example"),
        ("a.jsonl", "\n\n", "holds no example"),
        ("a.csv", "text,label\n", "holds no example"),
        ("a.jsonl", '{"text": "a"}\n{"text": "b"\n', "line 2: not a JSON object"),
        ("a.jsonl", '{"text": "a"}\n["b"]\n', "line 2: expected a JSON object"),
        ("a.jsonl", '{"text": "a"}\n{"label": "b"}\n', "line 2: `text` must be a string, it is missing"),
        ("a.jsonl", '{"text": 3}\n', "line 1: `text` must be a string, got `3`"),
        ("a.jsonl", '{"text": "a", "text_pair": 1}\n', "line 1: `text_pair` must be a string"),
        (
            "a.jsonl",
            '{"text": "a", "label": true}\n',
            "a string or a number, got `true`",
        ),
        ("a.jsonl", '{"text": "a", "label": {"x": 1}}\n', "line 1: `label` must be a string or a number"),
        ("a.jsonl", '{"text": "a", "labels": ["x", null]}\n', "line 1: each of the labels must be a string"),
        ("a.jsonl", '{"text": "a", "labels": ["x", ["y"]]}\n', "line 1: each of the labels must be a string"),
        ("a.jsonl", '{"text": "a", "labels": [Infinity]}\n', "line 1: `labels` must be finite"),
        ("a.jsonl", '{"text": "a", "labels": ["x", ""]}\n', "line 1: one of the labels is empty"),
        ("a.jsonl", '{"text": "a"}\n{"text": "b", "labels": ["x", "y", "x"]}\n', "line 2: the label `x` stands twice"),
        ("a.jsonl", '{"text": "a", "labels": [1, "1"]}\n', "line 1: the label `1` stands twice"),
        ("a.jsonl", '{"text": "a", "labels": ["\\ud83d"]}\n', "line 1: `label` holds half of a character"),
        ("a.jsonl", '{"text": "a", "label": NaN}\n', "line 1: `label` must be finite"),
        ("a.jsonl", b'{"text": "a"}\n{"text": "\xff"}\n', "line 2: not UTF-8"),
        ("a.jsonl", "[" * 100_000, "line 1: not a JSON object"),
        ("a.csv", "sentence,label\na,b\n", "line 1: no column `text`"),
        ("a.csv", "text,label\na,b\nc\n", "line 3: 1 fields, expected 2"),
        ("a.csv", "text,label\na,b,c\n", "line 2: 3 fields, expected 2"),
        ("a.csv", 'text,label\na,b\n"c,d\n', "line 3: malformed CSV"),
        ("a.csv", "text,label,label\na,b,c\n", "line 1: two columns are called `label`"),
        ("a.tsv", "text,label\na,b\n", "line 1: no column `text`"),
        ("a.tsv", 'text\tlabel\n"a\tx\nb"\ty\n', "line 2: a quoted cell runs over tabs and lines"),
        ("a.jsonl", '{"text": "a"}\n{"text": null}\n', "line 2: `text` must be a string, it is missing or null"),
        ("a.jsonl", '{"text": "a"}\n{"text": "I love this \\ud83d"}\n', "line 2: `text` holds half of a character"),
        ("a.jsonl", '{"text": "a", "text_pair": "\\udc00"}\n', "line 1: `text_pair` holds half of a character"),
        ("a.jsonl", '{"text": "a", "label": "\\ud83d"}\n', "line 1: `label` holds half of a character"),
        ("a.csv.gz", b"no gzip", "not a readable gzip file"),
        ("a.csv.gz", gzip.compress(b"text\na\n", mtime=0)[:-9], "not a readable gzip file"),
        ("a.xlsx", "PK", "is of a kind that is not read"),
        ("a.parquet", "PAR1", "is not a readable table"),
        ("a.arrow", "ARROW1", "is not a readable table"),
    ],
)
def test_malformed_file_names_file_and_line(tmp_path, name, content, said):
    path = write(tmp_path / name, content)
    with pytest.raises(UsageError) as caught:
        read_examples(path)
    assert said in caught.value.message
    assert str(path) in caught.value.message


def test_a_list_of_labels_is_taken_as_it_is_and_an_empty_one_says_none(tmp_path):
    many = [f"label {number}" for number in range(50)]
    rows = [{"labels": ["b", "a", 7]}, {"labels": []}, {"labels": None}, {"label": "x", "labels": ["y"]}, {}]
    rows += [{"label": ["x", "y"]}, {"label": None, "labels": ["z"]}, {"labels": many}, {"labels": "no list"}]
    path = write(tmp_path / "a.jsonl", "".join(json.dumps({"text": "t"} | row) + "\n" for row in rows))
    expected = [("b", "a", "7"), (), None, "x", None, ("x", "y"), ("z",), tuple(many), None]
    assert [example.label for example in read_examples(path)] == expected
    path = write(tmp_path / "b.jsonl", '{"text": "t", "tags": ["p"]}\n')
    assert read_examples(path, Columns(label="tags")) == [Example("t", None, ("p",))]


def test_a_separator_makes_lists_of_cells(tmp_path):
    for name, comma in (("a.csv", ","), ("a.tsv", "\t")):
        path = write(tmp_path / name, f"text{comma}label\na{comma}x | y\nb{comma}\nc{comma}x\n")
        assert [each.label for each in read_examples(path)] == ["x | y", None, "x"]
        assert [each.label for each in read_examples(path, Columns(separator="|"))] == [("x", "y"), (), ("x",)]
    path = write(tmp_path / "b.csv", 'text,labels\na,"x, y"\n')
    assert read_examples(path) == [Example("a")]
    assert read_examples(path, Columns(separator=",")) == [Example("a", None, ("x", "y"))]
    path = write(tmp_path / "c.jsonl", '{"text": "a", "label": "x;y"}\n{"text": "b", "labels": "z"}\n{"text": "c"}\n')
    assert [each.label for each in read_examples(path, Columns(separator=";"))] == [("x", "y"), ("z",), None]
    path = write(tmp_path / "d.csv", "text,label\na,x\nb,x||y\n")
    with pytest.raises(UsageError, match="line 3: one of the labels is empty"):
        read_examples(path, Columns(separator="|"))
    path = write(tmp_path / "e.csv", "text,label\na,x|y|x\n")
    with pytest.raises(UsageError, match="line 2: the label `x` stands twice"):
        read_examples(path, Columns(separator="|"))
    with pytest.raises(UsageError, match="separator of labels is empty"):
        Columns(separator="")


def test_missing_file_and_directory(tmp_path):
    for path in (tmp_path / "none.jsonl", tmp_path):
        with pytest.raises(UsageError, match="cannot read data file"):
            read_examples(path)


def test_data_and_text_import_without_torch():
    code = """
import sys, spartanc.runtime_py.data, spartanc.runtime_py.text
sys.exit(bool({"torch", "pyarrow"} & {*sys.modules}))
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_text_formats_need_no_pyarrow_and_others_name_it(tmp_path):
    """As on a board: the package is not there."""
    write(tmp_path / "a.jsonl", '{"text": "a", "label": 1}\n')
    write(tmp_path / "a.csv", "text,label\na,1\n")
    write(tmp_path / "a.tsv.gz", gzip.compress(b"text\tlabel\na\t1\n", mtime=0))
    write(tmp_path / "a.parquet", "PAR1")
    code = """
import sys
sys.modules["pyarrow"] = None  # as if it were not installed
from spartanc.errors import MissingToolError
from spartanc.runtime_py.data import Example, read_examples
for name in ("a.jsonl", "a.csv", "a.tsv.gz"):
    assert read_examples(name) == [Example("a", None, "1")], name
try:
    read_examples("a.parquet")
except MissingToolError as error:
    assert "`a.parquet` needs the package pyarrow" in error.message and "pip install pyarrow" in error.hint
else:
    sys.exit("it was read")
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_kinds_are_told_by_their_endings(tmp_path):
    rows = [Example("a, b", None, "x"), Example("c", "d", "y")]
    tsv, csv = "text\ttext_pair\tlabel\na, b\t\tx\nc\td\ty\n", 'text,text_pair,label\n"a, b",,x\nc,d,y\n'
    lines = '{"text": "a, b", "label": "x"}\n{"text": "c", "text_pair": "d", "label": "y"}\n'
    for name, content in {
        "a.tsv": tsv,
        "A.CSV": csv,
        "a.jsonl": lines,
        "a.ndjson": lines,
        "a.json": lines,
        "a": lines,
    }.items():
        assert read_examples(write(tmp_path / name, content)) == rows, name
        if "." in name:
            zipped = write(tmp_path / f"{name}.gz", gzip.compress(content.encode()))
            assert read_examples(zipped) == rows, name


def test_names_of_classes_are_the_text_of_the_file(tmp_path):
    names = ["007", "1_1", "+1", "1.10", " x ", "nan", "True"]
    path = write(tmp_path / "a.csv", "text,label\n" + "".join(f"t,{name}\n" for name in names))
    assert [example.label for example in read_examples(path)] == names
    spelled = ["7", "-0", "1.10", "1e3", "123456789012345678901234567890"]
    path = write(tmp_path / "a.jsonl", "".join(f'{{"text": "t", "label": {name}}}\n' for name in [*spelled, '"007"']))
    assert [example.label for example in read_examples(path)] == [*spelled, "007"]


def test_number_and_its_text_are_one_class(tmp_path):
    path = write(tmp_path / "a.jsonl", '{"text": "a", "label": 1}\n{"text": "b", "label": "1"}\n')
    labels = [example.label for example in read_examples(path)]
    assert labels == ["1", "1"]
    assert all(type(label) is str for label in labels)
    assert json.dumps(labels) == '["1", "1"]'


@pytest.mark.parametrize("pair", ['"text_pair": "", ', '"text_pair": "  ", ', '"text_pair": null, ', ""])
def test_empty_second_text_is_none(tmp_path, pair):
    path = write(tmp_path / "a.jsonl", f'{{"text": "a", {pair}"label": "x"}}\n')
    assert read_examples(path) == [Example("a", None, "x")]


def test_empty_label_is_none(tmp_path):
    assert read_examples(write(tmp_path / "a.csv", "text,label\na,\n"))[0].label is None
    assert read_examples(write(tmp_path / "a.jsonl", '{"text": "a", "label": ""}\n'))[0].label is None


def test_header_cells_are_stripped_and_cells_are_not(tmp_path):
    path = write(tmp_path / "a.csv", " text , label\n a , b\n")
    assert read_examples(path) == [Example(" a ", None, " b")]


def test_cells_may_be_of_any_length(tmp_path):
    text = "who is it ? " * 100_000
    path = write(tmp_path / "a.csv", f'text,label\n"{text}",HUM\n')
    assert read_examples(path) == [Example(text, None, "HUM")]


def test_columns_of_other_names(tmp_path):
    columns = Columns("sentence1", "sentence2", "target")
    path = write(tmp_path / "a.csv", "target,sentence2,sentence1\nx,b,a\n")
    assert read_examples(path, columns) == [Example("a", "b", "x")]
    path = write(tmp_path / "a.jsonl", '{"sentence1": "a", "sentence2": "b", "target": 3}\n')
    assert read_examples(path, columns) == [Example("a", "b", "3")]


@pytest.mark.parametrize(
    ("header", "offered"),
    [
        ("sentence,label", "`--text-column sentence`"),
        ("Review,Class", "`--text-column Review --label-column Class`"),
        ("premise,hypothesis,label", "`--text-column premise --pair-column hypothesis`"),
        ("sentence1,sentence2,target", "`--text-column sentence1 --pair-column sentence2 --label-column target`"),
        ("content,x", "`--text-column content`"),
        ("x,y1", "name the columns with `--text-column`"),
    ],
)
def test_common_names_are_offered(tmp_path, header, offered):
    path = write(tmp_path / "a.csv", f"{header}\n{','.join('a' for _ in header.split(','))}\n")
    with pytest.raises(UsageError) as caught:
        read_examples(path)
    assert offered in caught.value.hint
    row = json.dumps(dict.fromkeys(header.split(","), "a"))
    with pytest.raises(UsageError) as caught:
        read_examples(write(tmp_path / "a.jsonl", row))
    assert offered in caught.value.hint


def test_column_that_was_named_must_be_there(tmp_path):
    csv = write(tmp_path / "a.csv", "text,target\na,b\n")
    lines = write(tmp_path / "a.jsonl", '{"text": "a", "target": "b"}\n')
    for path in (csv, lines):
        for columns in (Columns(label="class"), Columns(pair="second"), Columns(text="sentence")):
            with pytest.raises(UsageError):
                read_examples(path, columns)
    with pytest.raises(UsageError, match="from one column"):
        Columns(text="a", label="a")


def test_digest_of_a_file_and_of_a_folder(tmp_path):
    one, other = write(tmp_path / "a.jsonl", "x"), write(tmp_path / "b.jsonl", "y")
    assert data_digest(one) == data_digest(write(tmp_path / "c.jsonl", "x")) != data_digest(other)
    with pytest.raises(UsageError, match="cannot read data file"):
        data_digest(tmp_path / "none")
