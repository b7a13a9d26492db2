"""Any data file by its name."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Iterable
from pathlib import Path

from spartanc.errors import UsageError
from spartanc.runtime_py.data.columns import Columns
from spartanc.runtime_py.data.delimited import read_delimited
from spartanc.runtime_py.data.example import Example
from spartanc.runtime_py.data.json_lines import read_json_lines
from spartanc.runtime_py.data.tables import files_of_folder, read_table

KINDS = ".jsonl, .csv, .tsv (each also .gz), .parquet, .arrow, or a folder that `datasets` saved"
_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_JSON_LINES = (".jsonl", ".ndjson", ".json", "")  # without an ending: a pipe
_TABLES = (".parquet", ".arrow")


def read_examples(path: str | Path, columns: Columns | None = None) -> list[Example]:
    """All examples of a file or folder, by the ending of its name.

    columns: the names of its columns, where they are not `text`, `text_pair` and `label`.
    Raises UsageError, with file and line or row, where it can't be read, is of another kind, holds a wrong row or none;
    MissingToolError where it needs pyarrow and that is missing.
    """
    path, columns = Path(path), columns or Columns()
    examples = list(_rows(path, columns))
    if not examples:
        raise UsageError(f"`{path}` holds no example", hint='a line is {"text": "…", "label": "…"}')
    return examples


def data_digest(path: str | Path) -> str:
    """SHA-256 of a data file's bytes, or of those of a folder's data files one after the other.

    Raises UsageError where one can't be read.
    """
    path, digest = Path(path), hashlib.sha256()
    try:
        for file in files_of_folder(path) if path.is_dir() else [path]:
            digest.update(file.read_bytes())
    except OSError as error:
        raise UsageError(f"cannot read data file `{path}`: {error.strerror or error}") from error
    return digest.hexdigest()


def _rows(path: Path, columns: Columns) -> Iterable[Example]:
    zipped = path.suffix.lower() == ".gz"
    suffix = (path.with_suffix("") if zipped else path).suffix.lower()
    known = suffix in _DELIMITERS or suffix in _JSON_LINES or (suffix in _TABLES and not zipped)
    if not known and not path.is_dir():
        raise UsageError(f"`{path}` is of a kind that is not read", hint=f"data files are {KINDS}")
    if path.is_dir() or suffix in _TABLES:
        if not path.exists():
            raise UsageError(f"cannot read data file `{path}`: No such file or directory")
        return read_table(path, columns)
    content = _text(path, zipped)
    if suffix in _DELIMITERS:
        return read_delimited(str(path), content, columns, _DELIMITERS[suffix])
    return read_json_lines(str(path), content, columns)


def _text(path: Path, zipped: bool) -> str:
    try:
        raw = path.read_bytes()
        raw = gzip.decompress(raw) if zipped else raw
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UsageError(f"`{path}` is not a readable gzip file: {error}") from error
    except OSError as error:
        raise UsageError(f"cannot read data file `{path}`: {error.strerror or error}") from error
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise UsageError(f"`{path}` line {line}: not UTF-8 text", hint="save the file as UTF-8") from error
