"""Whether a model can be asked such texts: one or two, as it was trained, with something in them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from spartanc.errors import UsageError
from spartanc.runtime_py.data.example import Example, make_example, place


def as_examples(texts: Sequence[str | tuple[str, str]]) -> list[Example]:
    """Texts, or pairs of them, that a program gives; UsageError, with the row, for one that can't be encoded."""
    examples = []
    for row, text in enumerate(texts, start=1):
        one, other = (text, None) if isinstance(text, str) else text
        examples.append(make_example(one, other, None, f"row {row}", row=row))
    return examples


def require_texts(
    examples: Sequence[Example], pairs: bool | None, source: str | Path | None = None, *, allow_empty: bool = False
) -> None:
    """Raise UsageError naming the first example that a model can't be asked.

    pairs: whether the model takes two texts; None where that is not known, as of models made before it was kept.
    allow_empty: where the answer is compared and not used, an empty text is as good as any.
    """
    for number, example in enumerate(examples, start=1):
        where = place(source, example) or (f"row {number}: " if len(examples) > 1 else "")
        if pairs and example.text_pair is None:
            raise UsageError(f"{where}no second text, and the model takes two", hint="give it as `text_pair`")
        if pairs is False and example.text_pair is not None:
            raise UsageError(f"{where}a second text, and the model takes one", hint="leave `text_pair` out")
        if example.is_empty and not allow_empty:
            raise UsageError(f"{where}the text is empty", hint="leave such rows out: there is nothing to tell of them")


def have_pairs(examples: Sequence[Example], source: str | Path) -> bool:
    """Whether training examples have two texts; UsageError names the first that differs from the one before."""
    pairs = any(example.text_pair is not None for example in examples)
    if pairs:
        for example in examples:
            if example.text_pair is None:
                raise UsageError(
                    f"{place(source, example)}no second text, and other rows have one",
                    hint="a model takes one text, or two; leave such rows out",
                )
    return pairs
