"""A result's document: its fields in order, plain values, optional fields only with a value."""

import json
from dataclasses import dataclass, field

from spartanc.base.results import OPTIONAL, Result


@dataclass(frozen=True)
class Point:
    x: int


@dataclass(frozen=True)
class Inner(Result):
    names: tuple[str, ...]


@dataclass(frozen=True)
class Outer(Result):
    inner: Inner
    points: list[Point]
    nothing: int | None
    by_name: dict[str, Point]
    absent: int | None = field(default=None, metadata=OPTIONAL)
    zero: int | None = field(default=None, metadata=OPTIONAL)


def test_a_document_is_plain_and_in_order():
    found = Outer(Inner(("a", "b")), [Point(1)], None, {"p": Point(2)}, zero=0).as_json()
    assert json.dumps(found) == json.dumps(
        {"inner": {"names": ["a", "b"]}, "points": [{"x": 1}], "nothing": None, "by_name": {"p": {"x": 2}}, "zero": 0}
    )
