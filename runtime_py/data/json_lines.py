"""JSON lines: one object a line. Blank lines are passed over."""

from __future__ import annotations

import json
from collections.abc import Iterator

from spartanc.errors import UsageError
from spartanc.runtime_py.data.columns import Columns
from spartanc.runtime_py.data.example import Example, Number, make_example


def read_json_lines(source: str, content: str, columns: Columns) -> Iterator[Example]:
    """The rows of `content`; UsageError with `source` and the line where one is malformed."""
    text, pair, _ = columns.names
    # A name that was given must be in one row at least; rows may leave out a second text and a label.
    wanted = {name for name in (columns.pair, columns.label) if name}
    seen: set[str] = set()
    for number, line in enumerate(content.split("\n"), start=1):
        if not line.strip():
            continue
        where = f"`{source}` line {number}"
        try:
            row = _DECODER.decode(line.strip())
        except (ValueError, RecursionError) as error:
            raise UsageError(
                f"{where}: not a JSON object ({error})",
                hint='one object a line: {"text": "…", "label": "…"}, or "labels": ["…", "…"]',
            ) from error
        if not isinstance(row, dict):
            raise UsageError(f"{where}: expected a JSON object, got `{line.strip()[:40]}`")
        if text not in row:
            columns_there = ", ".join(f"`{name}`" for name in list(row)[:12]) or "none"
            raise UsageError(
                f"{where}: `{text}` must be a string, it is missing; got {columns_there}", hint=columns.offer(row)
            )
        lists = [name for name, value in row.items() if isinstance(value, list)]
        label = columns.found_in([name for name, value in row.items() if value is not None], lists).names[2]
        value = row.get(label)
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, _Constant):
                raise UsageError(f"{where}: `{label}` must be finite, got `{each.name}`")
        seen |= wanted & set(row)
        yield make_example(row[text], row.get(pair), value, where, separator=columns.separator, line=number)
    for name in sorted(wanted - seen):
        raise UsageError(f"`{source}`: no row has a `{name}`", hint="see the names of its columns")


class _Constant:
    """NaN or an infinity, which Python writes and JSON does not have."""

    def __init__(self, name: str):
        self.name = name

    def __str__(self) -> str:
        return self.name


_DECODER = json.JSONDecoder(parse_int=Number, parse_float=Number, parse_constant=_Constant)
