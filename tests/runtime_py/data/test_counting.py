"""Odd rows are counted."""

from spartanc.runtime_py.data import Example, count_rows
from spartanc.runtime_py.data.counting import oddities


def test_empty_duplicate_and_contradictory_rows():
    examples = [
        Example("a", None, "x"),
        Example("a", None, "x"),  # says nothing new
        Example("a", None, "y"),  # and all three contradict
        Example("a", "b", "x"),  # another input
        Example(" ", None, "x"),
        Example("c", None, "x"),
    ]
    counts = count_rows(examples)
    assert counts == {"rows": 6, "empty": 1, "duplicate": 1, "contradictory": 3}
    assert oddities(counts) == "of 6 rows 1 empty, 1 duplicate, 3 contradictory"


def test_nothing_odd_is_nothing_to_say():
    counts = count_rows([Example("a", None, "x"), Example("b", None, "y")])
    assert counts == {"rows": 2, "empty": 0, "duplicate": 0, "contradictory": 0}
    assert oddities(counts) is None


def test_lists_of_labels_are_compared_as_sets():
    rows = [
        Example("a", label=("x", "y")),
        Example("a", label=("y", "x")),
        Example("a", label=()),
        Example("b", label=()),
    ]
    assert count_rows(rows) == {"rows": 4, "empty": 0, "duplicate": 1, "contradictory": 3}
