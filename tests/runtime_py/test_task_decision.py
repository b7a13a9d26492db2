"""Classes or numbers: the rule of `auto`, and what labels become by it."""

import pytest

from spartanc.errors import UsageError
from spartanc.runtime_py.data import Example, label_indices, label_numbers
from spartanc.runtime_py.task_types.decision import decide_task


def rows(*labels):
    return [Example("t", None, label, line=line) for line, label in enumerate(labels, start=1)]


def kind(labels, wanted="auto"):
    return decide_task(rows(*labels), "a.csv", wanted).task_type.name


@pytest.mark.parametrize(
    "labels",
    [
        ["0", "1"],
        ["0", "1", "2", "3", "4", "5"],
        ["1.0", "2.0"],  # whole, however it is written
        ["007", "012", "A01"],
        ["007", "1.5"],  # a zero before a digit
        ["1_1", "1_2"],
        ["+1.5", "-1.5"],
        ["1e-5", "2.5"],
        [".5", "1.5"],
        ["1.", "1.5"],
        ["1.5", "2.5 "],
        ["-", "1.5"],
        ["١.٥", "1.5"],  # digits of another script are no plain decimal
        ["nan", "1.5"],
        [str(number) for number in range(20)],  # few enough for classes
        [str(number) for number in range(21)] * 10,  # rows enough for 21 classes
    ],
)
def test_auto_takes_these_for_classes(labels):
    assert kind(labels) == "classification"


@pytest.mark.parametrize(
    "labels",
    [
        ["1.10", "1.20"],
        ["-0.5", "0", "1"],
        ["0.0001", "3"],
        [str(number) for number in range(21)],
        [str(number) for number in range(-30, 0)] * 9,
    ],
)
def test_auto_takes_these_for_numbers(labels):
    assert kind(labels) == "regression"


def test_what_is_asked_for_is_taken():
    assert kind(["1.10", "1.20"], "classification") == "classification"
    assert kind(["0", "1"], "regression") == "regression"
    with pytest.raises(UsageError, match="line 2: label `1_1` is not a number"):
        kind(["0", "1_1"], "regression")
    with pytest.raises(UsageError, match="not one of auto"):
        kind(["0", "1"], "ranking")


def test_the_line_says_what_was_taken_and_how_to_have_it_otherwise():
    why = decide_task(rows("1.10", "1.20"), "a.csv").why
    assert why.startswith("regression: every label is a number, and `1.10` is not whole")
    assert "`--problem classification`" in why
    why = decide_task(rows("0", "1"), "a.csv").why
    assert why.startswith("classification: 2 classes, `0`, `1`")
    assert "`--problem regression`" in why
    assert "--problem" not in decide_task(rows("ham", "spam"), "a.csv").why
    assert "\n" not in why


def test_names_are_sorted_and_kept_as_written():
    assert decide_task(rows("1_2", "1_1", "1_2"), "a.csv").labels == ("1_1", "1_2")
    assert decide_task(rows("012", "007", "A01"), "a.csv").labels == ("007", "012", "A01")


def test_labels_that_teach_nothing_are_refused():
    with pytest.raises(UsageError, match="has one label only: `x`"):
        kind(["x", "x"])
    with pytest.raises(UsageError, match=r"`a\.csv` line 2: no `label`"):
        kind(["x", None, "y"])


def test_development_rows_are_read_by_the_decision_of_the_training_rows():
    """Theirs alone would be classes: two whole numbers."""
    assert decide_task(rows("1.5", "2", "3"), "train.csv").task_type.name == "regression"
    assert label_numbers(rows("2", "3"), "dev.csv") == [2.0, 3.0]
    assert label_indices(rows("1.5", "2"), ("1.5", "2"), "dev.csv") == [0, 1]
