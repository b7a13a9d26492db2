"""Token ids that a program has a row for: another one would read outside its table of embeddings."""

from __future__ import annotations

import numpy as np

from spartanc.errors import UsageError


def check_ids(input_ids: np.ndarray, vocabulary: int, where: str = "") -> None:
    """Raise UsageError, with `where` at its head, for the first of `input_ids` outside of 0 to `vocabulary` - 1."""
    outside = np.flatnonzero((input_ids < 0) | (input_ids >= vocabulary))
    if len(outside):
        raise UsageError(
            f"{where}id `{input_ids.flat[outside[0]]}` at position {outside[0] + 1} is outside of the vocabulary of"
            f" {vocabulary} tokens",
            hint=f"ids go from 0 to {vocabulary - 1}; was the text encoded with the bundle's own tokenizer.json?",
        )
