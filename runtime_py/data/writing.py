"""Answers as a file: .csv, .jsonl or .parquet. Whole or not at all."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from spartanc.base.files import whole_path
from spartanc.base.json_text import json_text
from spartanc.errors import MissingToolError, UsageError
from spartanc.runtime_py.prediction import Prediction

_BETWEEN = "|"  # several labels in one cell
SUFFIXES = (".csv", ".jsonl", ".parquet")


def check_out(path: Path, source: Path | None) -> None:
    """Raise before anything is run where answers could not be written to `path`, or would replace their `source`."""
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"`--out {path}`: answers are written as {', '.join(SUFFIXES)}")
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise UsageError(f"`--out {path}`: there is no folder for it, or it is one")
    if source is not None and path.exists() and source.exists() and path.samefile(source):
        raise UsageError(f"`--out {path}` is the file that is read", hint="give another name")
    if path.suffix.lower() == ".parquet":
        try:
            import pyarrow.parquet  # noqa: F401
        except ImportError as error:
            raise MissingToolError(f"`{path}` needs the package pyarrow", hint="pip install pyarrow") from error


def write_answers(path: Path, answers: Sequence[dict[str, Any]]) -> None:
    """Write rows as `spartanc run` gives them. UsageError where that fails.

    A row of .jsonl is an answer as it is; in .csv and .parquet every class has a column `score LABEL`.
    """
    try:
        with whole_path(path) as temporary:
            _WRITERS[path.suffix.lower()](temporary, answers)
    except OSError as error:
        raise UsageError(f"cannot write `{path}`: {error.strerror or error}") from error


def _json_lines(path: Path, answers: Sequence[dict[str, Any]]) -> None:
    path.write_text("".join(json_text(row, ascii_only=False, indent=None) + "\n" for row in answers), encoding="utf-8")


def _csv(path: Path, answers: Sequence[dict[str, Any]]) -> None:
    out = io.StringIO()
    rows = [_flat(row) for row in answers]
    writer = csv.DictWriter(out, _columns(rows), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    path.write_text(out.getvalue(), encoding="utf-8", newline="")


def _parquet(path: Path, answers: Sequence[dict[str, Any]]) -> None:
    import pyarrow
    from pyarrow.parquet import write_table

    rows = [_flat(row) for row in answers]
    texts = ("text", "text_pair", "label", "expected")
    fields = []
    for name in _columns(rows):
        kind = pyarrow.bool_() if name == "truncated" else pyarrow.string() if name in texts else pyarrow.float64()
        fields.append((name, kind))
    write_table(pyarrow.Table.from_pylist(rows, schema=pyarrow.schema(fields)), path)


def _columns(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Of all rows: some have no second text, or no label to expect."""
    return list(dict.fromkeys(name for row in rows for name in row))


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    """An answer as one row of a table: the score of every class in a column of its own, several labels in one cell."""
    plain = {name: value for name, value in row.items() if name not in ("scores", "labels")}
    if "labels" in row:
        plain["label"] = _BETWEEN.join(row["labels"])
    if isinstance(row.get("expected"), list):
        plain["expected"] = _BETWEEN.join(row["expected"])
    if "scores" not in row:
        return plain
    score = Prediction.of(row.get("text") or "", row).score
    return plain | {"score": score} | {f"score {k}": v for k, v in row["scores"].items()}


_WRITERS = {".csv": _csv, ".jsonl": _json_lines, ".parquet": _parquet}
