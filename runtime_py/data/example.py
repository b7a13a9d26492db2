"""A row of labelled text, and the rules that hold for one wherever it came from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spartanc.errors import UsageError


@dataclass(frozen=True)
class Example:
    """One text, or two, with what it is labelled with.

    label: as it was written: `007` and `1_1` are names, and a number is its spelling. A tuple where the row has a list
    of labels, () where it says that none applies; None where it says nothing.
    line, row: where it stood in a file of lines, or in a table, counted from 1; for messages.
    """

    text: str
    text_pair: str | None = None
    label: str | tuple[str, ...] | None = None
    line: int | None = field(default=None, compare=False)
    row: int | None = field(default=None, compare=False)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing in one of its texts."""
        return not self.text.strip() or (self.text_pair is not None and not self.text_pair.strip())


class Number(str):
    """A number by its spelling, so that it is told from a text."""

    __slots__ = ()


def place(source: str | Path | None, example: Example) -> str:
    """`FILE` line 3: or what of that is known, at the head of a message."""
    number = f"line {example.line}" if example.line else f"row {example.row}" if example.row else ""
    where = " ".join(part for part in (f"`{source}`" if source else "", number) if part)
    return f"{where}: " if where else ""


def make_example(
    text: Any,
    pair: Any,
    label: Any,
    where: str,
    *,
    separator: str | None = None,
    line: int | None = None,
    row: int | None = None,
) -> Example:
    """An Example of values as a reader found them; None stands for what is missing.

    A blank second text is none, and an empty label too. separator: what stands between labels that are written in one
    text; an empty one then is a list of none. Raises UsageError, with `where`, for a value of another kind.
    """
    if not isinstance(text, str) or isinstance(text, Number):
        raise UsageError(f"{where}: `text` must be a string, {_got(text)}")
    if pair is not None and (not isinstance(pair, str) or isinstance(pair, Number)):
        raise UsageError(f"{where}: `text_pair` must be a string, {_got(pair)}")
    if separator is not None and isinstance(label, str):
        label = [name.strip() for name in label.split(separator)] if label.strip() else []
    is_list = isinstance(label, list | tuple)
    labels = label if is_list else () if label is None else (label,)
    for each in labels:
        if not isinstance(each, str):
            what = "each of the labels" if is_list else "`label`"
            raise UsageError(f"{where}: {what} must be a string or a number, {_got(each)}")
    for name, value in (("text", text), ("text_pair", pair), *(("label", each) for each in labels)):
        if value is not None and not is_sound(value):
            raise UsageError(
                f"{where}: `{name}` holds half of a character (a lone surrogate, as in half an emoji)",
                hint="the text was cut within a character; cut it between two, or drop the row",
            )
    if is_list:
        _check_list(labels, where)
    pair = pair if pair is not None and pair.strip() else None
    return Example(text, pair, tuple(map(str, labels)) if is_list else str(label) if label else None, line, row)


def _check_list(labels: Sequence[str], where: str) -> None:
    for number, label in enumerate(labels):
        if not label:
            raise UsageError(f"{where}: one of the labels is empty", hint="an empty list says that no label applies")
        if label in labels[:number]:
            raise UsageError(f"{where}: the label `{label}` stands twice", hint="name each label of a row once")


def is_sound(text: str) -> bool:
    """Whether `text` is Unicode that can be written as UTF-8."""
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


def _got(value: Any) -> str:
    if value is None:
        return "it is missing or null"
    if isinstance(value, bool):
        return f"got `{str(value).lower()}`"
    return f"got `{str(value)[:40]}`"
