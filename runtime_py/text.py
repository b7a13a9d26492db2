"""From text to token ids, exactly as in training: the text of a tokenizer.json and nothing else. Needs no
torch.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tokenizers import Tokenizer

from spartanc.errors import UsageError


@contextmanager
def errors_of_tokenizers(what: str, hint: str | None = None) -> Iterator[None]:
    """tokenizers raises bare Exceptions, and where its own code gives up a PanicException, which is not even one."""
    try:
        yield
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise UsageError(f"{what}: {error}", hint=hint) from error


@dataclass(frozen=True)
class Encoded:
    """One row of token ids, special tokens included, unpadded: its attention mask is ones.

    empty: whether nothing of a text became a token, as of one that is all invisible characters.
    """

    ids: list[int]
    truncated: bool
    empty: bool = False


class TextEncoder:
    """Encodes one text, or a pair, to at most `max_length` ids; of a pair the longer text is cut first."""

    def __init__(self, tokenizer_json: str, max_length: int):
        with errors_of_tokenizers("malformed tokenizer", "expected the text of a tokenizer.json"):
            self._tokenizer = Tokenizer.from_str(tokenizer_json)
        needed = self._tokenizer.num_special_tokens_to_add(is_pair=True) + 2
        if max_length < needed:
            raise UsageError(f"max length `{max_length}` leaves no room for text: at least {needed} is needed")
        self.max_length = max_length
        # What a tokenizer.json says of padding and truncation was its author's batch setting, not part of the
        # model.
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_length)

    def encode(self, text: str, text_pair: str | None = None) -> Encoded:
        with errors_of_tokenizers("the tokenizer can't encode a text"):
            if text_pair is not None:
                text, text_pair = self._beginnings(text, text_pair)
            encoding = self._tokenizer.encode(text, text_pair)
        if not encoding.ids:
            raise UsageError(f"text `{text[:40]}` has no token", hint="give a text with at least one word")
        found = {number for number in encoding.sequence_ids if number is not None}
        empty = len(found) < (1 if text_pair is None else 2)
        return Encoded(list(encoding.ids), truncated=bool(encoding.overflowing), empty=empty)

    def _beginnings(self, text: str, text_pair: str) -> tuple[str, str]:
        """As much of two texts as their ids depend on, where one of them is very long.

        The library keeps what it cuts off, and of a pair every piece of one text beside every piece of the other:
        gigabytes for two texts of 10,000 words. Which text is cut further depends on which is longer; that stays.
        """
        texts = (text, text_pair)
        if len(text) * len(text_pair) < (16 * self.max_length) ** 2:
            return texts
        encoded = [self._tokenizer.encode(each, add_special_tokens=False) for each in texts]
        lengths = [len(each.ids) + sum(len(piece.ids) for piece in each.overflowing) for each in encoded]
        shorter = 0 if lengths[0] <= lengths[1] else 1  # of equal ones the library takes the first for it
        kept = list(texts)
        # Pieces are of `max_length` ids, and the first of them does not count as overflowing.
        for which, pieces in ((shorter, 2), (1 - shorter, 3)):
            whole = encoded[which]
            if len(whole.overflowing) >= pieces:
                beginning = texts[which][: whole.overflowing[pieces - 2].offsets[-1][1]]
                if self._tokenizer.encode(beginning, add_special_tokens=False).ids == whole.ids:
                    kept[which] = beginning
        return kept[0], kept[1]

    def vocabulary_size(self) -> int:
        return self._tokenizer.get_vocab_size(with_added_tokens=True)

    def token_id(self, token: str) -> int | None:
        return self._tokenizer.token_to_id(token)

    def token(self, token_id: int) -> str:
        """The token of an id as a person reads it: without WordPiece's and BPE's marks of where words begin."""
        text = self._tokenizer.id_to_token(token_id)
        return "" if text is None else text.replace("\u0120", "").replace("\u2581", "")
