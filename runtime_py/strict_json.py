"""JSON from strangers: an object or an error, never a surprise. See docs/formats/bundle.md, "JSON"."""

from __future__ import annotations

import json
import re
from typing import Any

DEEPEST = 64  # a value may stand inside so many others
MOST_COUNT = (1 << 53) - 1  # the greatest whole number that every JSON reader holds (RFC 7493)
_LONGEST_INTEGER = 18  # characters
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def parse_object(text: bytes | str) -> dict[str, Any]:
    """The JSON object in `text`; ValueError for anything else, a name given twice and NaN included.

    A whole number of more than 18 characters, and -0, become floats: they are numbers, but no counts.
    """
    text = text.decode("utf-8") if isinstance(text, bytes) else text
    try:
        found = _DECODER.decode(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not isinstance(found, dict):
        raise ValueError("it is not an object")
    _check_depth(found)
    if _SURROGATE.search(text):
        _check_text(found)
    return found


def is_count(value: Any, least: int = 0, most: int = MOST_COUNT) -> bool:
    """Whether `value` is a whole number from `least` to `most`; true and 1.0 are not."""
    return type(value) is int and least <= value <= most


def is_text(value: Any) -> bool:
    """Whether `value` is text that every reader can hand on: without U+0000, which would end it in C."""
    return isinstance(value, str) and "\0" not in value


def _check_depth(found: dict[str, Any]) -> None:
    level: list[Any] = [found]
    for _ in range(DEEPEST):
        level = [
            value
            for each in level
            for value in (each.values() if type(each) is dict else each)
            if type(value) is dict or type(value) is list  # `isinstance` takes as long as parsing does
        ]
        if not level:
            return
    if any(level):
        raise ValueError(f"it is nested deeper than {DEEPEST}")


def _check_text(found: dict[str, Any]) -> None:
    try:
        json.dumps(found, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise ValueError("a string holds half of a surrogate pair") from error


def _no_name_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the name `{next(name for name in names if names.count(name) > 1)}` is given twice")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _number(text: str) -> int | float:
    return float(text) if len(text) > _LONGEST_INTEGER or text == "-0" else int(text)


_DECODER = json.JSONDecoder(object_pairs_hook=_no_name_twice, parse_constant=_no_constant, parse_int=_number)
