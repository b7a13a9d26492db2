"""The inputs on which a compiled program is proved: real texts, and rows chosen to break it.

A row is (input_ids int64 [1, L], attention_mask int64 [1, L]).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spartanc.errors import UsageError
from spartanc.runtime_py import encoding
from spartanc.runtime_py.data import Example
from spartanc.runtime_py.ids import check_ids
from spartanc.runtime_py.task_types.task_type import TaskType
from spartanc.runtime_py.text import TextEncoder

SEED = 20221130
SWEEP_ROWS_WITHOUT_TEXT = 16

Row = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Samples:
    """`truncated` counts texts longer than the program takes."""

    rows: list[Row]
    truncated: int


def row(ids: Sequence[int] | np.ndarray) -> Row:
    """One unpadded row."""
    array = np.asarray(ids, dtype=np.int64).reshape(1, -1)
    return array, np.ones_like(array)


def padded(ids_and_mask: Row, length: int, pad_id: int) -> Row:
    """The same row, padded on the right to `length` with masked positions."""
    ids, mask = ids_and_mask
    missing = ((0, 0), (0, length - ids.shape[1]))
    return np.pad(ids, missing, constant_values=pad_id), np.pad(mask, missing)


def encode_examples(
    examples: Sequence[Example], tokenizer: str, max_length: int, source: str | Path | None = None
) -> Samples:
    """`source` is the file of the examples, for the error that names a text that can't be encoded."""
    encoded = encoding.encode_examples(examples, TextEncoder(tokenizer, max_length), source)
    return Samples([row(each.ids) for each in encoded], sum(each.truncated for each in encoded))


def check_labels(examples: Sequence[Example], labels: Sequence[str], task_type: TaskType, source: str | Path) -> None:
    """Raise UsageError naming the first row whose label is not one that the model gives; no label is fine."""
    task_type.targets([example for example in examples if example.label is not None], labels, source)


def random_rows(vocabulary: int, max_length: int, count: int = SWEEP_ROWS_WITHOUT_TEXT) -> list[Row]:
    """Rows of random ids, the shortest and the longest length among them; ids below 5 (special ones) stay out."""
    generator = np.random.default_rng(SEED)
    lengths = np.unique(np.linspace(1, max_length, count).astype(int))
    lowest = 5 if vocabulary > 5 else 0
    return [row(generator.integers(lowest, vocabulary, size=length)) for length in lengths]


def length_sweep(rows: Sequence[Row], vocabulary: int, max_length: int, pad_id: int) -> list[Row]:
    """Rows beyond the given ones that cover lengths 1, 2, 3 and `max_length`, and padding to `max_length`."""
    covered = {each[0].shape[1] for each in rows}
    wanted = [length for length in (1, 2, 3, max_length) if length <= max_length and length not in covered]
    generator = np.random.default_rng(SEED)
    lowest = 5 if vocabulary > 5 else 0
    sweep = [row(generator.integers(lowest, vocabulary, size=length)) for length in wanted]
    short = [each for each in rows if each[0].shape[1] < max_length][:2]
    return sweep + [padded(each, max_length, pad_id) for each in short]


def read_ids(path: str | Path, vocabulary: int | None = None) -> list[Row]:
    """Rows of a safetensors file with `input_ids` and `attention_mask`, both [N, L] of an integer type.

    vocabulary: UsageError, with the row, where an id up to a row's last unmasked one is not below it.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise UsageError(f"`{path}` is not a readable safetensors file: {error}") from error
    for name in ("input_ids", "attention_mask"):
        if name not in tensors:
            raise UsageError(f"`{path}` has no tensor `{name}`; it has {', '.join(f'`{k}`' for k in sorted(tensors))}")
    ids, mask = tensors["input_ids"], tensors["attention_mask"]
    if ids.ndim != 2 or ids.shape != mask.shape or ids.dtype.kind not in "iu" or mask.dtype.kind not in "iub":
        raise UsageError(
            f"`{path}`: `input_ids` {ids.shape} and `attention_mask` {mask.shape} must be integers of one shape [N, L]"
        )
    ids, mask = ids.astype(np.int64), mask.astype(np.int64)
    rows = [(ids[i : i + 1], mask[i : i + 1]) for i in range(len(ids))]
    if vocabulary is not None:
        for number, each in enumerate(rows, start=1):
            kept = int(np.flatnonzero(each[1][0]).max(initial=-1)) + 1  # what follows is cut off before it is run
            check_ids(each[0][:, :kept], vocabulary, f"`{path}` row {number}: ")
    return rows
