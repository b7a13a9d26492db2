"""From text to token ids, exactly as in training: the text of a tokenizer.json and nothing else. Needs no
torch.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tokenizers import Tokenizer

from spartanc.compiler.errors import UsageError


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
    """One row of token ids, special tokens included, unpadded: its attention mask is ones."""

    ids: list[int]
    truncated: bool


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
            encoding = self._tokenizer.encode(text, text_pair)
        if not encoding.ids:
            raise UsageError(f"text `{text[:40]}` has no token", hint="give a text with at least one word")
        return Encoded(list(encoding.ids), truncated=bool(encoding.overflowing))

    def vocabulary_size(self) -> int:
        return self._tokenizer.get_vocab_size(with_added_tokens=True)

    def token_id(self, token: str) -> int | None:
        return self._tokenizer.token_to_id(token)

    def token(self, token_id: int) -> str:
        """The token of an id as a person reads it: without WordPiece's and BPE's marks of where words begin."""
        text = self._tokenizer.id_to_token(token_id)
        return "" if text is None else text.replace("\u0120", "").replace("\u2581", "")
