"""Compares the demo's tokenizers with the tokenizers library, id by id.

The tokenizers compared: the one of a real encoder, where its tokenizer.json is given, and ones made here
from the texts themselves: BERT's normaliser in each of its settings, byte pairs with RoBERTa's special tokens, and
those of pieces.py.
"""

from __future__ import annotations

import functools
import itertools
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pieces
import texts
from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

Encode = Callable[[Path, Path, Path, int], None]
"""Runs checks/java/Encode.java: tokenizer.json, texts, where the ids go, maximal length."""

_LONGEST_VOCABULARY = 3000
_PROSE_TIMES = 20  # so that pieces are made of it beside the project's own documents
_LONG = 50  # characters
_TOGETHER = 200  # rows encoded at a time: what a long text is cut into takes a thousand times the text


@dataclass(frozen=True)
class Mismatch:
    tokenizer: str
    texts: list[str]
    expected: str
    got: str


def tokenizers_to_try(real: Sequence[str], given: dict[str, str]) -> dict[str, str]:
    """Name to the text of a tokenizer.json: the given ones and those made here."""
    result = dict(given)
    bert = {"clean_text": True, "handle_chinese_chars": True, "strip_accents": None, "lowercase": True}
    result["bert-uncased"] = _word_piece(real, **bert)
    result["bert-cased"] = _word_piece(real, **(bert | {"lowercase": False}))
    result["bert-cased-stripped"] = _word_piece(real, **(bert | {"lowercase": False, "strip_accents": True}))
    result["bert-raw"] = _word_piece(real, **{name: False for name in bert})
    result["roberta"] = _byte_pairs(real, prefix_space=False, normalized_specials=True)
    result["roberta-prefixed"] = _byte_pairs(real, prefix_space=True, normalized_specials=False)
    return result | pieces.tokenizers_to_try([*texts.PROSE * _PROSE_TIMES, *real])


def _word_piece(real: Sequence[str], **options: bool | None) -> str:
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(**options)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    pieces_ = [*specials, *_frequent_pieces(tokenizer, real)][:_LONGEST_VOCABULARY]
    tokenizer.model = models.WordPiece({piece: number for number, piece in enumerate(pieces_)}, unk_token="[UNK]")
    tokenizer.add_special_tokens(specials)
    cls, sep = (tokenizer.token_to_id(token) for token in ("[CLS]", "[SEP]"))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", cls), ("[SEP]", sep)],
    )
    return tokenizer.to_str()


def _frequent_pieces(tokenizer: Tokenizer, real: Sequence[str]) -> list[str]:
    """Characters, then the most frequent words, their beginnings and what follows those.

    The library's trainer gives another vocabulary in every process, and with it models of other numbers: now and then
    two parents of a memory are as near as rounding, and eager and the program choose differently.
    """
    words: Counter[str] = Counter()
    for text in real:
        words.update(
            word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(tokenizer.normalizer.normalize_str(text))
        )
    characters = sorted({character for word in words for character in word})
    found: Counter[str] = Counter()
    for word, times in words.items():
        found[word] += times
        for cut in range(2, len(word) - 1):
            found[word[:cut]] += times
            found["##" + word[cut:]] += times
    frequent = [piece for piece, _ in sorted(found.items(), key=lambda each: (-each[1], each[0])) if len(piece) > 1]
    return [*characters, *(f"##{character}" for character in characters), *frequent]


def _byte_pairs(real: Sequence[str], *, prefix_space: bool, normalized_specials: bool) -> str:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix_space)
    tokenizer.decoder = decoders.ByteLevel()
    specials = [
        *(AddedToken(token, normalized=normalized_specials) for token in ("<s>", "<pad>", "</s>", "<unk>")),
        AddedToken("<mask>", lstrip=True, normalized=False),
    ]
    trainer = trainers.BpeTrainer(
        vocab_size=_LONGEST_VOCABULARY,
        special_tokens=specials,
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(real, trainer)
    cls, sep = tokenizer.token_to_id("<s>"), tokenizer.token_to_id("</s>")
    tokenizer.post_processor = processors.RobertaProcessing(
        ("</s>", sep), ("<s>", cls), trim_offsets=True, add_prefix_space=prefix_space
    )
    return tokenizer.to_str()


def compare(
    encode: Encode, given: Sequence[str], named: dict[str, str], scratch: Path, max_lengths: Sequence[int]
) -> tuple[int, list[Mismatch]]:
    """How many rows were compared, and those that differ. Each text alone, and every other one with its
    neighbour.
    """
    rows = [[text] for text in given] + [_pair(*two) for two in itertools.pairwise(given[::2])]
    lines, results = scratch / "texts.jsonl", scratch / "ids.txt"
    lines.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    wrong: list[Mismatch] = []
    compared = 0
    for name, text in named.items():
        definition = scratch / "tokenizer.json"
        definition.write_text(text, encoding="utf-8")
        for max_length in max_lengths:
            encode(definition, lines, results, max_length)
            got = results.read_text(encoding="utf-8").splitlines()
            if len(got) != len(rows):
                raise AssertionError(f"{len(got)} rows of ids for {len(rows)} rows of texts")
            for row, expected, ids in zip(rows, _expected(text, lines.read_text(), max_length), got, strict=True):
                compared += 1
                if expected != ids:
                    wrong.append(Mismatch(name, row, expected, ids))
    return compared, wrong


def _pair(first: str, second: str) -> list[str]:
    """Of two long texts only one stays long: the library keeps every piece that it cuts from the one with every piece
    of the other, which for byte pairs takes gigabytes.
    """
    return [first[:_LONG], second] if len(second) > _LONG else [first, second]


@functools.lru_cache(maxsize=32)  # the same rows are asked for again, for another build of the same classes
def _expected(definition: str, lines: str, max_length: int) -> list[str]:
    rows = [json.loads(line) for line in lines.splitlines()]
    tokenizer = Tokenizer.from_str(definition)
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length)
    inputs = [tuple(row) if len(row) == 2 else row[0] for row in rows]
    return [
        f"{each.ids} {'true' if each.overflowing else 'false'}"
        for start in range(0, len(inputs), _TOGETHER)
        for each in tokenizer.encode_batch(inputs[start : start + _TOGETHER])
    ]
