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
ROWS_WITHOUT_TEXT = 16
FULL_LENGTH_ROWS = 3
NAMED_IDS = 10

Row = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Samples:
    """Inputs to judge a program on. `truncated` counts texts longer than the program takes.

    examples: what the first rows came from; the rows after them are no texts.
    judged: how many of the first rows are judged; those after them were made to break a program.
    """

    rows: list[Row]
    truncated: int
    examples: tuple[Example, ...] = ()
    judged: int = 0


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
    rows = [row(each.ids) for each in encoded]
    return Samples(rows, sum(each.truncated for each in encoded), tuple(examples), len(rows))


def check_labels(examples: Sequence[Example], labels: Sequence[str], task_type: TaskType, source: str | Path) -> None:
    """Raise UsageError naming the first row whose label is not one that the model gives; no label is fine."""
    task_type.targets([example for example in examples if example.label is not None], labels, source)


def random_rows(vocabulary: int, max_length: int, count: int = ROWS_WITHOUT_TEXT) -> list[Row]:
    """Rows of ids drawn from the whole vocabulary, of `count` lengths from 1 to the longest."""
    generator = np.random.default_rng(SEED)
    lengths = np.unique(np.linspace(1, max_length, count).astype(int))
    return [row(generator.integers(vocabulary, size=length)) for length in lengths]


def random_samples(vocabulary: int, max_length: int) -> Samples:
    """What a program is judged on where there is no text."""
    rows = random_rows(vocabulary, max_length)
    return Samples(rows, 0, judged=len(rows))


def sweep_rows(rows: Sequence[Row], vocabulary: int, max_length: int, pad_id: int) -> list[Row]:
    """Rows beyond the given ones, made to break a program.

    - random ids at lengths 1, 2, 3, two in between, and three times at the longest;
    - ids 0 to 9, which are special in most vocabularies, and the last one;
    - level rows, one id at every position: what positions have in common is equal, so ties are decided;
    - two of the given rows, padded to the longest.
    """
    generator = np.random.default_rng(SEED + 1)
    between = (max_length // 3, 2 * max_length // 3)
    lengths = sorted({length for length in (1, 2, 3, *between) if 1 <= length < max_length})
    lengths += [max_length] * FULL_LENGTH_ROWS
    drawn = [row(generator.integers(vocabulary, size=length)) for length in lengths]
    named = [*range(min(NAMED_IDS, vocabulary)), vocabulary - 1]
    parts = [row(named[i : i + max_length]) for i in range(0, len(named), max_length)]
    level = [
        row(np.full(length, index)) for length, index in ((max_length, generator.integers(vocabulary)), (2, pad_id))
    ]
    short = [each for each in rows if each[0].shape[1] < max_length][:2]
    return [*drawn, *parts, *level, *(padded(each, max_length, pad_id) for each in short)]


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
    if not len(ids):
        raise UsageError(f"`{path}` has no rows")
    ids, mask = ids.astype(np.int64), mask.astype(np.int64)
    rows = [(ids[i : i + 1], mask[i : i + 1]) for i in range(len(ids))]
    if vocabulary is not None:
        for number, each in enumerate(rows, start=1):
            kept = int(np.flatnonzero(each[1][0]).max(initial=-1)) + 1  # what follows is cut off before it is run
            check_ids(each[0][:, :kept], vocabulary, f"`{path}` row {number}: ")
    return rows
