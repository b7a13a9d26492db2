"""`spartanc run`: what a model can be asked, what is said beside the answers, and where they go."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from pyarrow import parquet

from spartanc.compiler.cli import main
from spartanc.models.checkpoint import load_model, save_model
from spartanc.runtime_py.build import COMMAND, build_runtime
from spartanc.runtime_py.bundle import open_bundle
from spartanc.runtime_py.data import Example
from spartanc.runtime_py.devices.device import write_rows
from support.cli import spartanc, spartanc_json
from support.models import tiny_model

LONG = "where is the card " * 10


def made(folder, pairs):
    """A model that knows whether it takes two texts, and its bundle."""
    model = tiny_model("bert")
    model.pairs = pairs
    model.eval_examples = (Example("a good film", "a bad film" if pairs else None, "a"),)
    save_model(model, folder / "model.pt")
    bundle = folder / "bundle"
    spartanc_json("compile", folder / "model.pt", "--target", "host", "--out", bundle, "--max-length", 16)
    return folder / "model.pt", bundle


@pytest.fixture(scope="module")
def single(tmp_path_factory):
    return made(tmp_path_factory.mktemp("single"), pairs=False)


@pytest.fixture(scope="module")
def double(tmp_path_factory):
    return made(tmp_path_factory.mktemp("double"), pairs=True)


def refused(*arguments):
    result = spartanc(*arguments)
    assert result.exit_code == 2, (result.exit_code, result.stdout, result.stderr)
    assert result.stdout == "" and result.stderr.count("error: ") == 1
    return result.stderr


def rows(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_model_and_bundle_tell_how_many_texts_they_take(single, double):
    for (model, bundle), pairs in ((single, False), (double, True)):
        assert load_model(model).pairs is pairs
        assert open_bundle(bundle).pairs is pairs
        for path in (model, bundle):
            assert spartanc_json("inspect", path)["pairs"] is pairs


def test_model_file_of_an_earlier_version_takes_one_text_or_two(single, tmp_path):
    content = torch.load(single[0], weights_only=True)
    del content["pairs"]
    torch.save(content, tmp_path / "old.pt")
    assert load_model(tmp_path / "old.pt").pairs is None


def test_pair_model_is_asked_two_texts(double, tmp_path):
    _, bundle = double
    assert spartanc_json("run", bundle, "--text", "a film", "--text-pair", "a card")[0]["text_pair"] == "a card"
    assert "`--text`: no second text, and the model takes two" in refused("run", bundle, "--text", "a film")
    for blank in ("", " "):
        assert "no second text" in refused("run", bundle, "--text", "a film", "--text-pair", blank)
    pair, blank = {"text": "a film", "text_pair": "a card"}, {"text": "a film", "text_pair": ""}
    assert "line 2: no second text" in refused("run", bundle, "--data", rows(tmp_path / "a.jsonl", pair, blank))
    (tmp_path / "a.csv").write_text("text,text_pair\na film,a card\na film,\n")
    assert "line 3: no second text" in refused("run", bundle, "--data", tmp_path / "a.csv")


def test_single_text_model_is_asked_one_text(single, tmp_path):
    _, bundle = single
    assert "a second text, and the model takes one" in refused("run", bundle, "--text", "a", "--text-pair", "b")
    data = rows(tmp_path / "a.jsonl", {"text": "a"}, {"text": "a", "text_pair": "b"})
    assert "line 2: a second text" in refused("run", bundle, "--data", data)
    (plain,) = spartanc_json("run", bundle, "--text", "a good film")
    (tmp_path / "a.csv").write_text("text,text_pair\na good film,\n")
    for asked in (
        ("--text", "a good film", "--text-pair", ""),
        ("--data", rows(tmp_path / "b.jsonl", {"text": "a good film", "text_pair": ""})),
        ("--data", tmp_path / "a.csv"),
    ):
        assert spartanc_json("run", bundle, *asked) == [plain]


def test_no_text_is_no_question(single, tmp_path):
    _, bundle = single
    for blank in ("", " \t"):
        assert "the text is empty" in refused("run", bundle, "--text", blank)
        data = rows(tmp_path / "a.jsonl", {"text": "a"}, {"text": blank})
        assert "line 2: the text is empty" in refused("run", bundle, "--data", data)
    data = rows(tmp_path / "a.jsonl", {"text": "a"}, {"text": None})
    assert "line 2: `text` must be a string, it is missing or null" in refused("run", bundle, "--data", data)
    (tmp_path / "half.jsonl").write_text('{"text": "I love this \\ud83d"}\n')
    assert "line 1: `text` holds half of a character" in refused("run", bundle, "--data", tmp_path / "half.jsonl")


def test_verify_and_compile_hold_their_data_to_the_model(single, double, tmp_path):
    one = rows(tmp_path / "one.jsonl", {"text": "a film", "label": "a"}, {"text": "", "label": "b"})
    two = rows(tmp_path / "two.jsonl", {"text": "a film", "text_pair": "a card", "label": "a"})
    for (model, bundle), good, bad in ((single, one, two), (double, two, one)):
        found = spartanc_json("verify", bundle, "--model", model, "--data", good)
        assert found["rows"]["empty"] == (1 if good == one else 0)
        assert "second text" in refused("verify", bundle, "--model", model, "--data", bad)
        out = tmp_path / "out"
        assert "second text" in refused("compile", model, "--target", "host", "--out", out, "--data", bad)


def test_ids_outside_the_vocabulary_are_refused_by_row(single, tmp_path):
    _, bundle = single
    ids = np.array([[2, 5, 6, 3], [2, 64, 3, 0]])
    file = tmp_path / "ids.safetensors"
    write_rows(file, [(row[None], np.ones((1, 4), np.int64)) for row in ids])
    said = "row 2: id `64` at position 2 is outside of the vocabulary of 64 tokens"
    assert said in refused("run", bundle, "--ids", file)
    native = subprocess.run(
        [build_runtime("host") / COMMAND, "run", bundle, "--ids", file], capture_output=True, text=True
    )
    assert native.returncode == 2 and native.stdout == ""
    assert said in native.stderr
    ids[1] = [2, 63, 3, 10**6]
    mask = np.array([[1, 1, 1, 1], [1, 1, 1, 0]])  # what is masked at the end is cut off, so it may be anything
    write_rows(file, [(row[None], of_row[None]) for row, of_row in zip(ids, mask, strict=True)])
    assert len(spartanc_json("run", bundle, "--ids", file)) == 2
    ids[0, 0] = -1
    write_rows(file, [(row[None], of_row[None]) for row, of_row in zip(ids, mask, strict=True)])
    assert "row 1: id `-1` at position 1" in refused("run", bundle, "--ids", file)


def test_what_was_cut_is_said_and_the_table_stays_narrow(single, tmp_path):
    _, bundle = single
    (tmp_path / "long.csv").write_text(f'text\n"{LONG * 1000}"\na film\n')
    result = spartanc("run", bundle, "--data", tmp_path / "long.csv")
    assert result.exit_code == 0
    assert "1 of 2 texts were cut to 16 tokens" in result.stderr
    assert max(len(line) for line in result.stdout.splitlines()) < 140 and "…" in result.stdout
    answers = spartanc_json("run", bundle, "--data", tmp_path / "long.csv")
    assert [answer["truncated"] for answer in answers] == [True, False]
    assert answers[0]["text"] == LONG * 1000


def test_accuracy_where_rows_have_labels(single, tmp_path):
    _, bundle = single
    texts = ["a good film", "who was born in that city", "why does it rain"]
    plain = spartanc_json("run", bundle, "--data", rows(tmp_path / "a.jsonl", *({"text": text} for text in texts)))
    right = [answer["label"] for answer in plain]
    wrong = next(label for label in "abc" if label != right[2])
    labels = [right[0], right[1], wrong, "none of them", None]
    labelled = [{"text": text, "label": label} for text, label in zip([*texts, "a", "a"], labels, strict=True)]
    result = spartanc("run", bundle, "--data", rows(tmp_path / "b.jsonl", *labelled))
    assert "accuracy 0.6667 on 3 labelled rows" in result.stderr
    assert "1 of 4 labels are none of the model's, and do not count" in result.stderr
    assert "accuracy" not in spartanc("run", bundle, "--data", tmp_path / "a.jsonl").stderr
    answers = spartanc_json("run", bundle, "--data", tmp_path / "b.jsonl")
    assert [answer.get("expected") for answer in answers] == labels


def test_answers_go_to_a_file(single, tmp_path):
    _, bundle = single
    data = rows(tmp_path / "a.jsonl", {"text": "a film", "label": "a"}, {"text": "naïve"})
    answers = spartanc_json("run", bundle, "--data", data, "--out", tmp_path / "out.jsonl")
    assert [json.loads(line) for line in (tmp_path / "out.jsonl").read_text("utf-8").splitlines()] == answers
    spartanc_json("run", bundle, "--data", data, "--out", tmp_path / "out.parquet")
    table = parquet.read_table(tmp_path / "out.parquet").to_pylist()
    assert [row["label"] for row in table] == [answer["label"] for answer in answers]
    assert [row["score a"] for row in table] == [answer["scores"]["a"] for answer in answers]
    assert "is the file that is read" in refused("run", bundle, "--data", data, "--out", data)
    assert ".csv, .jsonl, .parquet" in refused("run", bundle, "--data", data, "--out", tmp_path / "out.txt")


def test_columns_are_named(single, tmp_path):
    _, bundle = single
    (tmp_path / "a.csv").write_text("sentence,target\na film,a\n")
    assert "`--text-column sentence --label-column target`" in refused("run", bundle, "--data", tmp_path / "a.csv")
    named = ("--text-column", "sentence", "--label-column", "target")
    (answer,) = spartanc_json("run", bundle, "--data", tmp_path / "a.csv", *named)
    assert (answer["text"], answer["expected"]) == ("a film", "a")
    both = ("--text-column", "sentence", "--label-column", "sentence")
    assert "from one column" in refused("run", bundle, "--data", tmp_path / "a.csv", *both)


def test_terminal_that_is_not_utf8_gets_escapes(single, tmp_path):
    _, bundle = single
    data = rows(tmp_path / "a.jsonl", {"text": "how far is café ?", "label": "a"})
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "spartanc", "run", bundle, "--data", data]
    done = subprocess.run(command, env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.isascii() and b"caf\\xe9" in done.stdout
    done = subprocess.run([*command, "--json"], env=environment, capture_output=True)
    assert done.stdout.isascii()
    assert json.loads(done.stdout)[0]["text"] == "how far is café ?"


def test_target_that_was_not_set_up_is_told_before_torch_is_imported(tmp_path):
    """Importing torch takes seconds; what is missing takes none to see."""
    code = """
import sys
from spartanc.compiler.cli import main
try:
    main(["compile", "none.pt", "--target", "rpi4", "--out", "out"])
finally:
    heavy = {"torch", "transformers", "executorch"} & {*sys.modules}
    print("imported", *sorted(heavy), file=sys.stderr)
"""
    environment = {**os.environ, "SPARTANC_CACHE": str(tmp_path / "cache"), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = subprocess.run([sys.executable, "-c", code], env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 5, done.stderr
    assert "`spartanc setup rpi4`" in done.stderr
    assert done.stderr.splitlines()[-1] == "imported"
    assert not (tmp_path / "out").exists()


def test_host_needs_no_set_up_to_be_told_of_a_missing_model(tmp_path):
    result = CliRunner().invoke(main, ["compile", str(tmp_path / "none.pt"), "--target", "host", "--out", "out"])
    assert result.exit_code == 2 and "no model at" in result.stderr
