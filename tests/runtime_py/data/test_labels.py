"""Labels as a model has them."""

import pytest

from spartanc.errors import UsageError
from spartanc.runtime_py.data import Example, label_indices, label_numbers
from spartanc.runtime_py.data.labels import as_number


def test_labels_become_indices_or_numbers():
    examples = [Example("t", None, "y", line=1), Example("t", None, "3", line=2)]
    assert label_indices(examples, ("x", "y", "3"), "a") == [1, 2]
    with pytest.raises(UsageError, match="line 2: label `3` is not one of the model's\nhint: the model knows `x`"):
        label_indices(examples, ("x", "y"), "a")
    with pytest.raises(UsageError, match="line 1: label `y` is not a number"):
        label_numbers(examples, "a")
    with pytest.raises(UsageError, match="no `label`"):
        label_indices([Example("a")], ("x",))


@pytest.mark.parametrize(
    ("label", "number"),
    [
        ("2.5", 2.5),
        ("-1e-5", -1e-5),
        ("+3", 3.0),
        ("007", 7.0),
        (" 2 ", 2.0),
        (".5", 0.5),
        ("1_1", None),
        ("1e999", None),
    ]
    + [(text, None) for text in ("nan", "inf", "x", "", "0x1", "١")],
)
def test_what_a_regression_takes_for_a_number(label, number):
    assert as_number(label) == number
