"""CSV and TSV with a header line. Cells may be of any length and hold line breaks within quotes."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterator

from spartanc.errors import UsageError
from spartanc.runtime_py.data.columns import Columns
from spartanc.runtime_py.data.example import Example, make_example


def read_delimited(source: str, content: str, columns: Columns, delimiter: str) -> Iterator[Example]:
    """The rows of `content`; UsageError with `source` and the line where one is malformed.

    Blanks round the names in the header do not count; cells are taken as they stand, and an empty one is no second text
    and no label.
    """
    csv.field_size_limit(sys.maxsize)  # of the process; its default refuses a text of 131,072 characters
    reader = csv.reader(io.StringIO(content, newline=""), strict=True, delimiter=delimiter)
    header: list[str] | None = None
    places: list[int | None] = []
    started = 1  # where the row being read begins: a quoted cell may run over several lines
    try:
        for row in reader:
            where = f"`{source}` line {started}"
            if not row:
                pass  # a blank line
            elif header is None:
                header = [name.strip() for name in row]
                places = _places(header, columns.found_in(header), where)
            else:
                if len(row) != len(header):
                    raise UsageError(
                        f"{where}: {len(row)} fields, expected {len(header)}",
                        hint="a cell that holds the delimiter, a quote or a line break must stand in quotes",
                    )
                if delimiter == "\t" and any("\t" in cell and "\n" in cell for cell in row):
                    raise UsageError(
                        f"{where}: a quoted cell runs over tabs and lines",
                        hint="a cell that begins with a quote must end with one; double the quotes within",
                    )
                text, pair, label = (None if at is None else row[at] for at in places)
                yield make_example(text, pair, label, where, separator=columns.separator, line=started)
            started = reader.line_num + 1
    except csv.Error as error:
        kind = "TSV" if delimiter == "\t" else "CSV"
        raise UsageError(
            f"`{source}` line {started}: malformed {kind} ({error})",
            hint="a cell that begins with a quote must end with one; double the quotes within",
        ) from error


def _places(header: list[str], columns: Columns, where: str) -> list[int | None]:
    """The index of the columns of text, second text and label."""
    columns.require(header, where)
    for name in columns.names:
        if header.count(name) > 1:
            raise UsageError(f"{where}: two columns are called `{name}`")
    return [header.index(name) if name in header else None for name in columns.names]
