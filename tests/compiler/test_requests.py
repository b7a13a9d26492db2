"""What is asked is done, or refused with the option's name before any work: nothing is left out without a word."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

import spartanc
from spartanc.compiler.fleet import add_task
from spartanc.compiler.request import CompileRequest, make_plan
from spartanc.compiler.run import answer_rows
from spartanc.compiler.verify import VerifyRequest, verify_bundle
from spartanc.errors import UsageError
from spartanc.runtime_py.data import Columns
from support.artifacts import MANIFEST, write_bundle
from support.cli import spartanc as command

ACCEPTED = Path(__file__).parents[1] / "golden" / "bundles" / "accept"
OF_COLUMNS = {
    "--text-column": Columns(text="sentence"),
    "--pair-column": Columns(pair="second"),
    "--label-column": Columns(label="intent"),
    "--label-separator": Columns(separator=","),
}


def _asked(**changes):
    return replace(CompileRequest((Path("model.pt"),), "host", Path("no-such-folder/out")), **changes)


@pytest.mark.parametrize(
    ("option", "word"), [("lowering", "Portable"), ("lowering", ""), ("format", "TorchScript"), ("quantize", "")]
)
def test_a_word_that_is_none_gives_no_other_program(option, word):
    """The command's own choices do not stand before callers from Python."""
    assert make_plan(_asked()).backend.format == "executorch"
    with pytest.raises(UsageError, match=f"unknown `--{option} {word}`"):
        make_plan(_asked(**{option: word}))
    with pytest.raises(UsageError, match=f"unknown `--{option} {word}`"):
        spartanc.compile("model.pt", target="host", out="no-such-folder/out", progress=False, **{option: word})


@pytest.mark.parametrize("option", OF_COLUMNS)
def test_columns_of_no_file_are_refused(option, tmp_path):
    columns, bundle = OF_COLUMNS[option], write_bundle(tmp_path / "bundle")
    for ask in (
        lambda: make_plan(_asked(columns=columns)),
        lambda: VerifyRequest(bundle=bundle, expected=Path("expected.safetensors"), columns=columns),
        lambda: answer_rows(bundle, text="a text", columns=columns),
        lambda: answer_rows(bundle, ids=Path("ids.safetensors"), columns=columns),
        lambda: add_task(ACCEPTED / "fleet" / "bundle", Path("model.pt"), columns=columns),
    ):
        with pytest.raises(UsageError, match=f"`{option}`.*\n.*`--data`"):
            ask()
    make_plan(_asked(columns=columns, data=Path("rows.csv")))
    make_plan(_asked(columns=Columns()))


def test_a_column_without_a_name_is_not_the_usual_one():
    with pytest.raises(UsageError, match="name of a column is empty"):
        Columns(text="")


@pytest.mark.parametrize("option", ["--model", "--data"])
def test_recorded_answers_take_no_others(option, tmp_path):
    words = ["verify", write_bundle(tmp_path / "bundle"), "--expected", "expected.safetensors", option, "file"]
    result = command(*words)
    assert result.exit_code == 2
    assert f"`{option}` does not go with `--expected`" in result.stderr


@pytest.mark.parametrize(
    ("name", "value"),
    [("limit", 0), ("limit", -1), ("min_agreement", 1.5), ("min_agreement", float("nan")), ("max_diff", float("nan")),
     ("max_diff", -1.0)],
)  # fmt: skip
def test_a_gate_or_a_number_of_rows_that_is_none_is_refused(name, value):
    with pytest.raises(UsageError, match=f"`--{name.replace('_', '-')}`.*got `{value}`") as caught:
        VerifyRequest(bundle=Path("bundle"), expected=Path("expected.safetensors"), **{name: value})
    assert caught.value.exit_code == 2


def _recorded(folder, rows):
    ids = np.ones((rows, 4), np.int64)
    path = folder / "expected.safetensors"
    save_file({"input_ids": ids, "attention_mask": ids, "logits": np.zeros((rows, 1), np.float32)}, path)
    return path


def test_no_rows_are_no_comparison(tmp_path):
    recorded = _recorded(tmp_path, 0)
    for ask in (
        lambda: verify_bundle(VerifyRequest(bundle=write_bundle(tmp_path / "bundle"), expected=recorded)),
        lambda: answer_rows(tmp_path / "bundle", ids=recorded),
    ):
        with pytest.raises(UsageError, match=r"`.*expected\.safetensors` has no rows"):
            ask()


def test_a_share_of_labels_is_not_asked_of_numbers(tmp_path):
    probe = MANIFEST["probe"] | {"logits": [[0.5]]}
    bundle = write_bundle(tmp_path / "bundle", problem="regression", labels=[], probe=probe)
    asked = VerifyRequest(bundle=bundle, expected=_recorded(tmp_path, 1), min_agreement=0.9)
    with pytest.raises(UsageError, match="`--min-agreement` is a share of equal labels"):
        verify_bundle(asked)
