"""Labelled texts as token ids, and batches of them."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from spartanc.runtime_py.data import Example
from spartanc.runtime_py.encoding import encode_examples
from spartanc.runtime_py.text import TextEncoder


class EncodedExamples(torch.utils.data.Dataset):
    """Examples as token ids with their target. `source` is the file of the examples, for errors."""

    def __init__(
        self,
        examples: Sequence[Example],
        targets: Sequence[Any],
        encoder: TextEncoder,
        source: str | Path | None = None,
    ):
        encoded = encode_examples(examples, encoder, source)
        self.truncated = sum(row.truncated for row in encoded)
        self.rows: list[dict[str, Any]] = [
            {"input_ids": row.ids, "labels": target} for row, target in zip(encoded, targets, strict=True)
        ]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.rows[index]

    def order_by_length(self) -> list[int]:
        """Which row comes where in `by_length`."""
        return sorted(range(len(self.rows)), key=lambda index: len(self.rows[index]["input_ids"]))

    def by_length(self, indices: Sequence[int] | None = None) -> EncodedExamples:
        """The same rows, or those of `indices`, shortest first."""
        other = copy.copy(self)
        if indices is not None:
            other.rows = [self.rows[index] for index in indices]
        other.rows = [other.rows[index] for index in other.order_by_length()]
        return other

    def batches(self, pad_id: int, size: int = 64) -> Iterator[dict[str, Tensor]]:
        """The rows in their order, `size` at a time."""
        for first in range(0, len(self.rows), size):
            yield pad_rows(self.rows[first : first + size], pad_id)


def pad_rows(rows: Sequence[dict[str, Any]], pad_id: int) -> dict[str, Tensor]:
    """One batch of rows, padded to the longest."""
    ids, mask = pad_ids([row["input_ids"] for row in rows], pad_id)
    batch = {"input_ids": ids, "attention_mask": mask, "labels": torch.tensor([row["labels"] for row in rows])}
    if "teacher" in rows[0]:
        batch["teacher"] = torch.tensor([row["teacher"] for row in rows])
    return batch


def pad_ids(rows: Sequence[Sequence[int]], pad_id: int) -> tuple[Tensor, Tensor]:
    """Token ids and their mask, int64 [B, L], padded to the longest row."""
    length = max(map(len, rows))
    ids = torch.full((len(rows), length), pad_id)
    mask = torch.zeros(len(rows), length, dtype=torch.long)
    for index, row in enumerate(rows):
        ids[index, : len(row)] = torch.tensor(row)
        mask[index, : len(row)] = 1
    return ids, mask
