"""Data files: what is read, and what a wrong one says."""

import subprocess
import sys

import pytest

from spartanc.errors import UsageError
from spartanc.runtime_py.data import Example, label_indices, label_numbers, read_examples


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_json_lines_keep_text_pair_and_label(tmp_path):
    path = write(
        tmp_path / "a.jsonl",
        '{"text": "one\\u2028line", "label": "x"}\n\n{"text": "a", "text_pair": "b", "label": 2.5}\r\n{"text": ""}',
    )
    assert read_examples(path) == [Example("one\u2028line", None, "x"), Example("a", "b", 2.5), Example("")]
    assert [example.line for example in read_examples(path)] == [1, 3, 4]


def test_csv_with_the_same_columns(tmp_path):
    path = write(tmp_path / "a.csv", '\ufefftext,label,other\n"a, ""b""",x,1\n"two\nlines",y,2\n')
    assert read_examples(path) == [Example('a, "b"', None, "x"), Example("two\nlines", None, "y")]
    path = write(tmp_path / "b.csv", "text,text_pair,label\na,b,1\nc,,2.5\n")
    assert read_examples(path) == [Example("a", "b", 1), Example("c", None, 2.5)]
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
        ("a.jsonl", '{"text": "a", "label": ["x"]}\n', "line 1: `label` must be a string or a number"),
        ("a.jsonl", '{"text": "a", "label": NaN}\n', "line 1: `label` must be finite"),
        ("a.jsonl", b'{"text": "a"}\n{"text": "\xff"}\n', "line 2: not UTF-8"),
        ("a.jsonl", "[" * 100_000, "line 1: not a JSON object"),
        ("a.csv", "sentence,label\na,b\n", "line 1: no column `text`"),
        ("a.csv", "text,label\na,b\nc\n", "line 3: 1 fields, expected 2"),
        ("a.csv", "text,label\na,b,c\n", "line 2: 3 fields, expected 2"),
        ("a.csv", 'text,label\na,b\n"c,d\n', "line 3: malformed CSV"),
    ],
)
def test_malformed_file_names_file_and_line(tmp_path, name, content, said):
    path = write(tmp_path / name, content)
    with pytest.raises(UsageError) as caught:
        read_examples(path)
    assert said in caught.value.message
    assert str(path) in caught.value.message


def test_missing_file_and_directory(tmp_path):
    for path in (tmp_path / "none.jsonl", tmp_path):
        with pytest.raises(UsageError, match="cannot read data file"):
            read_examples(path)


def test_labels_become_indices_or_numbers(tmp_path):
    path = write(tmp_path / "a.jsonl", '{"text": "a", "label": "y"}\n{"text": "b", "label": 3}\n')
    examples = read_examples(path)
    assert label_indices(examples, ("x", "y", "3"), path) == [1, 2]
    with pytest.raises(UsageError, match="label `3` is not one of the model's\nhint: the model knows `x`"):
        label_indices(examples, ("x", "y"), path)
    with pytest.raises(UsageError, match="line 1: label `y` is not a number"):
        label_numbers(examples, path)
    assert label_numbers(examples[1:]) == [3.0]
    with pytest.raises(UsageError, match="no `label`"):
        label_indices([Example("a")], ("x",))


def test_data_and_text_import_without_torch():
    code = "import sys, spartanc.runtime_py.data, spartanc.runtime_py.text; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
