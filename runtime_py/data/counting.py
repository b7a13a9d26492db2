"""What is odd about a file's rows: counted and said, never dropped."""

from __future__ import annotations

from collections.abc import Sequence

from spartanc.runtime_py.data.example import Example


def count_rows(examples: Sequence[Example]) -> dict[str, int]:
    """Numbers of rows: all, `empty` ones (nothing in a text), `duplicate` ones (a row before says the same), and
    `contradictory` ones (their texts stand with another label too).
    """
    labels: dict[tuple[str, str | None], set[object]] = {}
    seen: set[tuple[str, str | None, object]] = set()
    duplicate = 0
    for example in examples:
        texts = (example.text, example.text_pair)
        label = frozenset(example.label) if isinstance(example.label, tuple) else example.label
        labels.setdefault(texts, set()).add(label)
        duplicate += (*texts, label) in seen
        seen.add((*texts, label))
    return {
        "rows": len(examples),
        "empty": sum(example.is_empty for example in examples),
        "duplicate": duplicate,
        "contradictory": sum(len(labels[example.text, example.text_pair]) > 1 for example in examples),
    }


def oddities(counts: dict[str, int]) -> str | None:
    """The counts that are not 0, in words; None where there are none."""
    odd = [f"{counts[name]} {name}" for name in ("empty", "duplicate", "contradictory") if counts[name]]
    return f"of {counts['rows']} rows {', '.join(odd)}" if odd else None


def cut_texts(truncated: int, rows: int, max_length: int) -> str | None:
    """How many texts were read in part only, in words; None where none was."""
    return f"{truncated} of {rows} texts exceed {max_length} tokens and were cut" if truncated else None
