"""What is printed is JSON for every reader."""

import json
import math

import pytest

from spartanc.base.json_text import json_text


def test_numbers_that_json_has_no_word_for_are_null():
    value = {"a": [math.nan, 1.5, (math.inf, 2)], "b": {"c": -math.inf, "d": None, "e": "NaN", "f": True}}
    found = json.loads(json_text(value, ascii_only=False), parse_constant=pytest.fail)
    assert found == {"a": [None, 1.5, [None, 2]], "b": {"c": None, "d": None, "e": "NaN", "f": True}}


def test_letters_are_escaped_where_asked():
    assert json_text(["é"], ascii_only=True, indent=None) == '["\\u00e9"]'
    assert json_text(["é"], ascii_only=False, indent=None) == '["é"]'
