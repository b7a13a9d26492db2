"""What a model can be asked, and what a wrong text says."""

import pytest

from spartanc.errors import UsageError
from spartanc.runtime_py.data import Example, as_examples, require_texts
from spartanc.runtime_py.data.asking import have_pairs

ONE, TWO, EMPTY = Example("a", row=1), Example("a", "b", row=2), Example(" \n", row=3)


def said(examples, pairs, **options):
    with pytest.raises(UsageError) as caught:
        require_texts(examples, pairs, **options)
    return caught.value.message


def test_number_of_texts_is_the_models():
    require_texts([ONE], False)
    require_texts([TWO], True)
    require_texts([ONE, TWO], None)  # models made before it was kept
    assert said([TWO, ONE], True, source="f") == "`f` row 1: no second text, and the model takes two"
    assert said([ONE, TWO], False, source="f") == "`f` row 2: a second text, and the model takes one"
    assert said([Example("a")] * 2, True) == "row 1: no second text, and the model takes two"


def test_empty_text_is_named_unless_it_is_allowed():
    assert said([ONE, EMPTY], False, source="f") == "`f` row 3: the text is empty"
    require_texts([ONE, EMPTY], False, allow_empty=True)


def test_texts_and_pairs_from_a_program():
    assert as_examples(["a", ("b", "c"), ("f", "")]) == [Example("a"), Example("b", "c"), Example("f")]


def test_half_a_character_from_a_program_is_named_by_its_row():
    with pytest.raises(UsageError, match="row 2: `text` holds half of a character"):
        as_examples(["a", "\ud83d"])
    with pytest.raises(UsageError, match="row 1: `text_pair` holds half of a character"):
        as_examples([("a", "\ud83d")])


def test_training_rows_have_one_text_all_or_two_all():
    assert have_pairs([TWO, TWO], "f") is True
    assert have_pairs([ONE, ONE], "f") is False
    with pytest.raises(UsageError, match="`f` row 1: no second text, and other rows have one"):
        have_pairs([TWO, ONE], "f")
