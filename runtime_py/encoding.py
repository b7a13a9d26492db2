"""Examples to token ids, where a text that can't be encoded is named by its place."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from spartanc.errors import UsageError
from spartanc.runtime_py.data.example import Example, place
from spartanc.runtime_py.text import Encoded, TextEncoder


def encode_examples(
    examples: Sequence[Example], encoder: TextEncoder, source: str | Path | None = None, *, allow_empty: bool = True
) -> list[Encoded]:
    """Every example as one row of ids.

    allow_empty: whether a text may leave no token. Raises UsageError, with the file `source` and the row, where one may
    not, and where the tokenizer fails.
    """
    encoded = []
    for number, example in enumerate(examples, start=1):
        where = place(source, example) or (f"row {number}: " if len(examples) > 1 else "")
        try:
            row = encoder.encode(example.text, example.text_pair)
        except UsageError as error:
            raise UsageError(f"{where}{error.message}", error.hint) from error
        if row.empty and not allow_empty:
            raise UsageError(f"{where}nothing of a text becomes a token", hint="it holds invisible characters alone")
        encoded.append(row)
    return encoded
