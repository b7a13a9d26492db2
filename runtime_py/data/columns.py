"""Which columns of a file hold the text, the second text and the label."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from spartanc.errors import UsageError

TEXT, PAIR, LABEL = "text", "text_pair", "label"
LABELS = "labels"  # a list of them, where there is no `label`

# What other tools and published data sets call them: offered, never taken unasked.
_TEXTS = (
    *("sentence", "sentence1", "text1", "premise", "question1", "question", "query", "review", "content", "message"),
    *("utterance", "tweet", "comment", "document", "body", "title", "input"),
)
_PAIRS = ("sentence2", "text2", "hypothesis", "question2", "answer", "passage", "context")
_LABELS = ("labels", "target", "class", "category", "intent", "sentiment", "score", "rating", "output", "y")


@dataclass(frozen=True)
class Columns:
    """Names of columns; None is the usual name, `text`, `text_pair` or `label`, of which only `text` must be there.

    A name that was given must be there. separator: what stands between the labels of a row that are written in one
    text; None where a text is one label.
    """

    text: str | None = None
    pair: str | None = None
    label: str | None = None
    separator: str | None = None

    def __post_init__(self):
        if self.separator is not None and not self.separator:
            raise UsageError("the separator of labels is empty", hint="give what stands between them, such as `,`")
        if "" in (self.text, self.pair, self.label):
            raise UsageError("the name of a column is empty")
        given = [name for name in self.names if name is not None]
        if len(set(given)) != len(given):
            raise UsageError("two of text, second text and label are to be read from one column")

    @property
    def options(self) -> dict[str, str | None]:
        """What the commands call them, and what was given."""
        return {
            "--text-column": self.text,
            "--pair-column": self.pair,
            "--label-column": self.label,
            "--label-separator": self.separator,
        }

    @property
    def names(self) -> tuple[str, str, str]:
        """Of text, second text and label."""
        return self.text or TEXT, self.pair or PAIR, self.label or LABEL

    def found_in(self, present: Collection[str], lists: Collection[str] = ()) -> Columns:
        """These columns in a file that has the columns `present`, of which `lists` hold lists.

        Where there is no `label` and none was named, `labels` stands for it, if it holds lists or labels are separated.
        """
        several = LABELS in lists or (self.separator is not None and LABELS in present)
        return replace(self, label=LABELS) if self.label is None and LABEL not in present and several else self

    def require(self, present: Collection[str], where: str) -> None:
        """Raise UsageError, with the columns that are there and what to take of them, where one is missing.

        where: file and line, at the head of the message.
        """
        text, pair, label = self.names
        missing = [text] if text not in present else []
        missing += [pair] if self.pair and pair not in present else []
        missing += [label] if self.label and label not in present else []
        if missing:
            got = ", ".join(f"`{name}`" for name in present) or "none"
            raise UsageError(f"{where}: no column `{missing[0]}`, got {got}", hint=self.offer(present))

    def offer(self, present: Collection[str]) -> str:
        """The options that read a file with these columns, as far as their names tell."""
        options = []
        for option, wanted, known in (
            ("--text-column", self.names[0], _TEXTS),
            ("--pair-column", self.names[1], _PAIRS),
            ("--label-column", self.names[2], _LABELS),
        ):
            found = _first(known, present)
            if wanted not in present and found is not None:
                options.append(f"{option} {found}")
        if options:
            return f"the file's own names are read with `{' '.join(options)}`"
        return "name the columns with `--text-column`, `--pair-column` and `--label-column`"


def require_data(columns: Columns | None, data: object | None) -> None:
    """Raise UsageError, with the option, where something is said of the columns of a file that was not given."""
    if columns is None or data is not None:
        return
    for option, given in columns.options.items():
        if given is not None:
            raise UsageError(f"`{option}` says how to read a file of rows, and none was given", hint="give `--data`")


def _first(known: Collection[str], present: Collection[str]) -> str | None:
    """The first known name among those present, in any case, as it is spelled there."""
    by_name = {name.casefold(): name for name in reversed(list(present))}
    return next((by_name[name] for name in known if name in by_name), None)
