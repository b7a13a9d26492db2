"""JSON from strangers: an object or an error, never a surprise."""

from __future__ import annotations

import json
from typing import Any


def parse_object(text: bytes | str) -> dict[str, Any]:
    """The JSON object in `text`; ValueError for anything else, a name that stands twice and NaN among it."""
    try:
        found = _DECODER.decode(text.decode("utf-8") if isinstance(text, bytes) else text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not isinstance(found, dict):
        raise ValueError("it is no object")
    return found


def _no_name_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice in an object")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_no_name_twice, parse_constant=_no_constant)
