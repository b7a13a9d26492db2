"""Parquet, Arrow and the folders that `datasets` saves, by pyarrow, which is imported when such a file is read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

from spartanc.errors import MissingToolError, UsageError
from spartanc.runtime_py.data.columns import Columns
from spartanc.runtime_py.data.example import Example, make_example

STATE = "state.json"  # of a folder that `Dataset.save_to_disk` wrote
SPLITS = "dataset_dict.json"  # of one that `DatasetDict.save_to_disk` wrote
_ARROW_MAGIC = b"ARROW1"  # of an IPC file; an IPC stream has none


def read_table(path: Path, columns: Columns) -> Iterator[Example]:
    """The rows of a .parquet or .arrow file, or of a `save_to_disk` folder.

    Raises UsageError, with the row, for a wrong one; MissingToolError where pyarrow is missing.
    """
    pa = _pyarrow(path)
    try:
        if path.is_dir():
            table = pa.concat_tables([_read_arrow(pa, file) for file in files_of_folder(path)])
        elif path.suffix.lower() == ".parquet":
            from pyarrow.parquet import ParquetFile

            with ParquetFile(path) as file:
                columns = _found_in(file.schema_arrow, columns)
                present = [name for name in file.schema_arrow.names if name in columns.names]
                columns.require(file.schema_arrow.names, f"`{path}`")
                table = file.read(columns=present).replace_schema_metadata(file.schema_arrow.metadata)
        else:
            table = _read_arrow(pa, path)
        columns = _found_in(table.schema, columns)
    except (pa.ArrowException, OSError) as error:
        reason = str(error).strip().splitlines()
        raise UsageError(f"`{path}` is not a readable table: {reason[0] if reason else error}") from error
    columns.require(table.column_names, f"`{path}`")
    for name in columns.names:
        if table.column_names.count(name) > 1:
            raise UsageError(f"`{path}`: two columns are called `{name}`")
    text, pair, label = (
        _Column(path, table.column(name)) if name in table.column_names else None for name in columns.names
    )
    names = _class_names(table.schema, columns.names[2])
    for index in range(table.num_rows):
        where = f"`{path}` row {index + 1}"
        read = [None if each is None else each.value(index, where) for each in (text, pair, label)]
        one, other, given = read
        if isinstance(given, list):
            named: Any = [_named(each, names, where) if names else spelled(each) for each in given]
        else:
            named = _named(given, names, where) if names else spelled(given)
        yield make_example(one, other, named, where, separator=columns.separator, row=index + 1)


def _found_in(schema: Any, columns: Columns) -> Columns:
    import pyarrow

    is_list = (pyarrow.types.is_list, pyarrow.types.is_large_list, pyarrow.types.is_fixed_size_list)
    lists = [field.name for field in schema if any(test(field.type) for test in is_list)]
    return columns.found_in(schema.names, lists)


def files_of_folder(folder: Path) -> list[Path]:
    """The Arrow files of a `save_to_disk` folder, in their order."""
    if (folder / SPLITS).is_file():
        splits = ", ".join(f"`{folder / name}`" for name in _json(folder / SPLITS).get("splits", ()))
        raise UsageError(f"`{folder}` holds several splits", hint=f"give one of them: {splits}")
    if not (folder / STATE).is_file():
        raise UsageError(
            f"cannot read data file `{folder}`: Is a directory",
            hint=f"of folders, those that `datasets` saves are read; this one has no `{STATE}`",
        )
    state = _json(folder / STATE)
    if state.get("_indices_data_files") or state.get("_indices_files"):
        raise UsageError(f"`{folder}` keeps the order of its rows apart", hint="save it again with a newer `datasets`")
    files = state.get("_data_files")
    names = [str(each.get("filename")) for each in files if isinstance(each, dict)] if isinstance(files, list) else []
    if not names or any(Path(name).name != name for name in names):
        raise UsageError(f"`{folder / STATE}` names no data files")
    return [folder / name for name in names]


def spelled(value: Any) -> Any:
    """A label as a text: numbers in decimals, shortest that gives the number back; anything else as it is."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float | np.floating):
        if not np.isfinite(value):
            return None if np.isnan(value) else value  # pandas keeps what is missing as NaN
        return np.format_float_positional(value, trim="0")
    if isinstance(value, Decimal):
        return format(value, "f")
    return value


def _pyarrow(path: Path) -> Any:
    try:
        import pyarrow
        import pyarrow.ipc
    except ImportError as error:
        raise MissingToolError(
            f"`{path}` needs the package pyarrow, which is missing",
            hint="pip install pyarrow; .jsonl, .csv and .tsv are read without it",
        ) from error
    return pyarrow


def _read_arrow(pa: Any, path: Path) -> Any:
    with path.open("rb") as file:
        is_file = file.read(len(_ARROW_MAGIC)) == _ARROW_MAGIC
    source = pa.memory_map(str(path))
    return (pa.ipc.open_file if is_file else pa.ipc.open_stream)(source).read_all()


class _Column:
    """The values of one column, one by one, so that a wrong one has a row."""

    def __init__(self, path: Path, column: Any):
        import pyarrow

        kind = column.type.value_type if pyarrow.types.is_dictionary(column.type) else column.type
        # What a float32 was written as, its value in float64 does not tell.
        self.narrow = pyarrow.types.is_float32(kind) or pyarrow.types.is_float16(kind)
        self.column = column

    def value(self, index: int, where: str) -> Any:
        try:
            found = self.column[index].as_py()
        except UnicodeDecodeError as error:
            raise UsageError(f"{where}: not UTF-8 text") from error
        return np.float32(found) if self.narrow and isinstance(found, float) else found


def _class_names(schema: Any, label: str) -> list[str]:
    """The names of the classes that `datasets` keeps beside a column of their numbers; none where it does not."""
    try:
        features = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
        feature = features[label].get("feature", features[label])  # that of a list stands inside
        names = feature["names"] if feature.get("_type") == "ClassLabel" else []
        return names if all(isinstance(name, str) for name in names) else []
    except (ValueError, KeyError, TypeError, AttributeError):
        return []


def _named(value: Any, names: list[str], where: str) -> Any:
    if value is None or value == -1:  # -1 is how `datasets` says that there is no label
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < len(names):
        raise UsageError(f"{where}: `label` is `{value}`, and the file names {len(names)} classes")
    return names[value]


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read `{path}`: {error}") from error
    return found if isinstance(found, dict) else {}
