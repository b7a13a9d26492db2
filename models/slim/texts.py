"""Texts without labels, as batches of about as many tokens."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from spartanc.errors import UsageError
from spartanc.models.examples import pad_ids
from spartanc.runtime_py.data import Example, read_examples
from spartanc.runtime_py.encoding import encode_examples
from spartanc.runtime_py.text import TextEncoder

BATCH_TOKENS = 1024  # of a batch, padding included
_SORTED_AT_ONCE = 512  # texts that are sorted by length before they are cut into batches
HELD_OUT = 256  # texts at most, and a tenth of all, that nothing is fitted to
FEWEST = 50


@dataclass(frozen=True)
class Batch:
    """Token ids and mask, int64 [B, L]."""

    ids: Tensor
    mask: Tensor


@dataclass(frozen=True)
class Texts:
    """Rows of token ids, shuffled by a seed. held_out: those that the result is judged on. truncated: how many texts
    were cut, of `read`.
    """

    rows: list[list[int]]
    held_out: list[list[int]]
    counts: dict[str, int]
    read: int
    truncated: int


def read_texts(paths: Sequence[Path], tokenizer: str, max_length: int, seed: int) -> Texts:
    """All texts of the files, each once; a `.txt` has one a line, other files are read as training rows are.

    Raises UsageError where a file cannot be read or texts are too few.
    """
    encoder = TextEncoder(tokenizer, max_length)
    rows: dict[tuple[int, ...], None] = {}
    counts = {}
    read = truncated = 0
    for path in paths:
        before = len(rows)
        encoded = encode_examples(examples_of(path), encoder, path)
        rows |= dict.fromkeys(tuple(row.ids) for row in encoded if not row.empty)
        counts[str(path)] = len(rows) - before
        read, truncated = read + len(encoded), truncated + sum(row.truncated for row in encoded)
    if len(rows) < FEWEST:
        raise UsageError(
            f"{len(rows)} different texts are too few to slim an encoder by",
            hint=f"give at least {FEWEST}, better some thousands, like those of the tasks to come: --texts FILE",
        )
    shuffled = [list(row) for row in rows]
    random.Random(seed).shuffle(shuffled)
    spared = min(HELD_OUT, len(shuffled) // 10)
    return Texts(shuffled[spared:], shuffled[:spared], counts, read, truncated)


def examples_of(path: Path) -> list[Example]:
    """The rows of a file: a `.txt` has one text a line, others are read as training rows are. Raises UsageError."""
    if path.suffix.lower() != ".txt":
        return read_examples(path)
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read texts from `{path}`: {error}") from error
    return [Example(line.strip(), None, None) for line in lines if line.strip()]


def batches(rows: Sequence[list[int]], pad_id: int, tokens: int = BATCH_TOKENS) -> Iterator[Batch]:
    """The rows, texts of like lengths together, at most `tokens` a batch (but one row at least)."""
    for first in range(0, len(rows), _SORTED_AT_ONCE):
        batch: list[list[int]] = []
        for row in sorted(rows[first : first + _SORTED_AT_ONCE], key=len):
            if batch and len(row) * (len(batch) + 1) > tokens:
                yield Batch(*pad_ids(batch, pad_id))
                batch = []
            batch.append(row)
        if batch:
            yield Batch(*pad_ids(batch, pad_id))


def endless(rows: Sequence[list[int]], pad_id: int, seed: int, tokens: int = BATCH_TOKENS) -> Iterator[Batch]:
    """Batches of one pass over the rows after the other, each in an order of its own."""
    generator = random.Random(seed)
    while True:
        shuffled = list(rows)
        generator.shuffle(shuffled)
        found = list(batches(shuffled, pad_id, tokens))
        generator.shuffle(found)
        yield from found
