"""The tokenizer of a model's directory, as the text of a tokenizer.json: its own, or made of a vocabulary beside it.

tokenizer.json                                   as it is
vocab.txt, vocab.json                            by transformers' class for the architecture
sentencepiece.bpe.model, spiece.model, spm.model the same, and held to sentencepiece itself on odd texts, for a
                                                 conversion that drops the model's normalisation still runs
"""

from __future__ import annotations

import base64
import json
import unicodedata
from pathlib import Path
from typing import Any

from spartanc.errors import MissingToolError, UsageError

TOKENIZER = "tokenizer.json"
VOCABULARIES = ("vocab.txt", "vocab.json")
SENTENCEPIECE = ("sentencepiece.bpe.model", "spiece.model", "spm.model")
# What a normalisation map changes: full widths, a ligature, a no-break space, fractions, an accent, an ellipsis.
ODD_TEXTS = ("１２３ ﬁne", "a\u00a0b", "½ ² ㎏", "cafe\u0301 au  lait", "wait…", "日本語のテキスト", "hello world")


def read_tokenizer(directory: Path) -> str | None:
    """The text of tokenizer.json, or of what transformers makes of a vocabulary; None where there is neither.

    Raises UsageError for files that can't be read or converted, MissingToolError where the package sentencepiece is
    missing for one of its models.
    """
    path = directory / TOKENIZER
    try:
        if path.is_file():
            return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read `{path}`: {error}") from error
    pieces = next((directory / name for name in SENTENCEPIECE if (directory / name).is_file()), None)
    if pieces is not None:
        return _of_pieces(pieces)
    if any((directory / name).is_file() for name in VOCABULARIES):
        return _converted(directory)
    return None


def _converted(directory: Path) -> str:
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(directory, local_files_only=True, trust_remote_code=False)
        text: str = tokenizer.backend_tokenizer.to_str()
    except Exception as error:  # whatever a tokenizer class raises on a vocabulary that it cannot read
        raise UsageError(f"cannot make a tokenizer of the vocabulary in `{directory}`: {error}") from error
    return text


def _of_pieces(path: Path) -> str:
    processor, proto = _sentencepiece(path)
    tokenizer = json.loads(_converted(path.parent))
    if tokenizer["model"]["type"] not in ("Unigram", "BPE"):
        raise UsageError(
            f"transformers reads `{path.name}` as a {tokenizer['model']['type']} vocabulary",
            hint='`"tokenizer_class"` in tokenizer_config.json says what it is, as in `"XLMRobertaTokenizer"`',
        )
    _restore_map(tokenizer, proto.normalizer_spec.precompiled_charsmap)
    text = json.dumps(tokenizer, ensure_ascii=False)
    _require_equal(text, processor, path)
    return text


def _sentencepiece(path: Path) -> tuple[Any, Any]:
    """The model at `path` as sentencepiece's processor, and its content."""
    try:
        from sentencepiece import SentencePieceProcessor, sentencepiece_model_pb2
    except ImportError as error:
        raise MissingToolError(
            f"`{path}` needs the packages sentencepiece and protobuf: {error}",
            hint="pip install 'spartanc[sentencepiece]'; or put a tokenizer.json beside it",
        ) from error
    try:
        data = path.read_bytes()
        return SentencePieceProcessor(model_proto=data), sentencepiece_model_pb2.ModelProto.FromString(data)  # type: ignore[attr-defined]
    except Exception as error:  # protobuf's own classes of errors, RuntimeError, OSError
        raise UsageError(f"`{path}` is not a SentencePiece model that can be read: {error}") from error


def _restore_map(tokenizer: dict[str, Any], charsmap: bytes) -> None:
    """Give a tokenizer its model's normalisation map in the place of the plain Unicode form that stands for it."""
    normalizer = tokenizer["normalizer"] or {"type": "Sequence", "normalizers": []}
    steps = normalizer["normalizers"] if normalizer["type"] == "Sequence" else [normalizer]
    if not charsmap or any(step["type"] == "Precompiled" for step in steps):
        return
    restored = {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(charsmap).decode()}
    kept = [step for step in steps if step["type"] not in ("NFC", "NFKC")]
    first = next((i for i, step in enumerate(kept) if step["type"] == "Strip"), len(kept))
    runs = {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}  # which the map may make
    tokenizer["normalizer"] = {"type": "Sequence", "normalizers": [*kept[:first], restored, runs, *kept[first:]]}


def _require_equal(text: str, processor: Any, path: Path) -> None:
    """UsageError where the tokenizer gives odd texts other pieces than sentencepiece does."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(text)
    for odd in ODD_TEXTS:
        given = _as_the_class_prepares(odd, text)
        expected = [
            None if processor.is_unknown(id_) else processor.id_to_piece(id_) for id_ in processor.encode(given)
        ]
        encoding = tokenizer.encode(given, add_special_tokens=False)
        found = [None if _is_unknown(tokenizer, token) else token for token in encoding.tokens]
        if found != expected:
            raise UsageError(
                f"transformers makes another tokenizer of `{path}` than sentencepiece: `{odd}` gives {found},"
                f" there {expected}",
                hint="put a tokenizer.json beside it that its authors made",
            )


def _as_the_class_prepares(odd: str, tokenizer: str) -> str:
    """What sentencepiece would be given of a text: some classes drop accents and capitals before."""
    if '"StripAccents"' in tokenizer:
        odd = "".join(letter for letter in unicodedata.normalize("NFKD", odd) if not unicodedata.combining(letter))
    return odd.lower() if '"Lowercase"' in tokenizer else odd


def _is_unknown(tokenizer: Any, token: str) -> bool:
    return token in ("<unk>", "[UNK]") or tokenizer.token_to_id(token) is None
