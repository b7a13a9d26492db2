"""Labelled texts from files: JSON lines, or CSV with the same column names. Needs no torch.

A line is `{"text": …, "label": …}`, with `text_pair` for two-sentence tasks. A label is the name of a class
(a string) or, for regression, a number. CSV knows strings only, so a CSV label column is taken as numbers
when every label in the file reads as one.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from spartanc.errors import UsageError

Label = str | int | float
_COLUMNS = ("text", "text_pair", "label")


@dataclass(frozen=True)
class Example:
    """One text, or two, with its label if it has one; `line` is where it stood in its file, for messages."""

    text: str
    text_pair: str | None = None
    label: Label | None = None
    line: int | None = field(default=None, compare=False)


def read_examples(path: str | Path) -> list[Example]:
    """All examples of a file: CSV where the name ends in `.csv`, else JSON lines. Blank lines are passed
    over.

    Raises UsageError, with file and line number, where the file cannot be read, a line is malformed, or none
    is there.
    """
    path = Path(path)
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read data file `{path}`: {error.strerror or error}") from error
    try:
        content = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise UsageError(f"`{path}` line {line}: not UTF-8 text", hint="save the file as UTF-8") from error
    examples = list(_from_csv(path, content) if path.suffix.lower() == ".csv" else _from_json_lines(path, content))
    if not examples:
        raise UsageError(f"`{path}` holds no example", hint='a line is {"text": "…", "label": "…"}')
    return examples


def label_indices(examples: Sequence[Example], labels: Sequence[str], path: str | Path | None = None) -> list[int]:
    """The position in `labels` of every example's label; UsageError names the first that is missing or
    unknown.
    """
    index = {name: position for position, name in enumerate(labels)}
    found = []
    for example in examples:
        if example.label is None:
            raise UsageError(f"{_place(path, example.line)}no `label`")
        position = index.get(str(example.label))
        if position is None:
            known = ", ".join(f"`{name}`" for name in labels[:8]) + (", …" if len(labels) > 8 else "")
            raise UsageError(
                f"{_place(path, example.line)}label `{example.label}` is not one of the model's",
                hint=f"the model knows {known}",
            )
        found.append(position)
    return found


def label_numbers(examples: Sequence[Example], path: str | Path | None = None) -> list[float]:
    """Every example's label as a number, for regression; UsageError names the first that is missing or is
    none.
    """
    numbers = []
    for example in examples:
        if example.label is None:
            raise UsageError(f"{_place(path, example.line)}no `label`")
        if isinstance(example.label, str):
            raise UsageError(
                f"{_place(path, example.line)}label `{example.label}` is not a number",
                hint='a regression label is a number: {"text": "…", "label": 2.5}',
            )
        numbers.append(float(example.label))
    return numbers


def _place(path: str | Path | None, line: int | None) -> str:
    where = " ".join(part for part in (f"`{path}`" if path else "", f"line {line}" if line else "") if part)
    return f"{where}: " if where else ""


def _from_json_lines(path: Path, content: str) -> Iterator[Example]:
    for number, line in enumerate(content.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UsageError(
                f"`{path}` line {number}: not a JSON object ({error})",
                hint='one object a line: {"text": "…", "label": "…"}',
            ) from error
        if not isinstance(row, dict):
            raise UsageError(f"`{path}` line {number}: expected a JSON object, got `{line.strip()[:40]}`")
        yield _example(path, number, row)


def _from_csv(path: Path, content: str) -> Iterator[Example]:
    reader = csv.DictReader(io.StringIO(content, newline=""), strict=True)
    rows: list[tuple[int, dict]] = []
    started = 1  # where the row being read begins: a quoted field may run over several lines
    try:
        columns = reader.fieldnames or []
        started = reader.line_num + 1
        if columns and "text" not in columns:
            got = ", ".join(f"`{column}`" for column in columns)
            raise UsageError(f"`{path}` line 1: no column `text`, got {got}", hint=f"columns: {', '.join(_COLUMNS)}")
        for row in reader:
            if None in row or None in row.values():
                count = len(row.get(None) or ()) + sum(
                    value is not None for key, value in row.items() if key is not None
                )
                raise UsageError(f"`{path}` line {started}: {count} fields, expected {len(columns)}")
            rows.append((started, {name: row[name] for name in _COLUMNS if name in row}))
            started = reader.line_num + 1
    except csv.Error as error:
        raise UsageError(f"`{path}` line {started}: malformed CSV ({error})") from error
    labels = [row["label"] for _, row in rows if row.get("label")]
    numeric = bool(labels) and all(_number(label) is not None for label in labels)
    for number, row in rows:
        if not row.get("label"):
            row.pop("label", None)
        elif numeric:
            row["label"] = _number(row["label"])
        if not row.get("text_pair"):
            row.pop("text_pair", None)
        yield _example(path, number, row)


def _number(text: str) -> int | float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    if not math.isfinite(value):
        return None
    return int(value) if text.strip().lstrip("+-").isdigit() else value


def _example(path: Path, number: int, row: dict) -> Example:
    text, pair, label = row.get("text"), row.get("text_pair"), row.get("label")
    if not isinstance(text, str):
        got = "it is missing" if text is None else f"got `{text}`"
        raise UsageError(f"`{path}` line {number}: `text` must be a string, {got}")
    if pair is not None and not isinstance(pair, str):
        raise UsageError(f"`{path}` line {number}: `text_pair` must be a string, got `{pair}`")
    if label is not None and (isinstance(label, bool) or not isinstance(label, Label)):
        raise UsageError(f"`{path}` line {number}: `label` must be a string or a number, got `{json.dumps(label)}`")
    if isinstance(label, float) and not math.isfinite(label):
        raise UsageError(f"`{path}` line {number}: `label` must be finite, got `{label}`")
    return Example(text, pair, label, number)
