"""Tokenizers that come from SentencePiece, to compare: those of whole encoders, and ones that show what a part does."""

from __future__ import annotations

import io
import itertools
import json
import random
import string
import struct
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import grapheme_tables
from sentencepiece import SentencePieceTrainer, sentencepiece_model_pb2
from texts import SEED
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from spartanc.models.tokenizer_files import read_tokenizer

MARK = "\u2581"
_SIZE = 1500
_LINES = 2000
# Of every architecture: the file of its pieces, and the options that its special tokens ask for.
_ENCODERS: dict[str, tuple[str, dict[str, str]]] = {
    "xlm-roberta": ("sentencepiece.bpe.model", {}),
    "camembert": ("sentencepiece.bpe.model", {}),
    "albert": ("spiece.model", {"pad_piece": "<pad>", "control_symbols": "[CLS],[SEP],[MASK]"}),
    "deberta-v2": ("spm.model", {"unk_piece": "[UNK]", "control_symbols": "[PAD],[CLS],[SEP],[MASK]"}),
}
# How a number may be written: as short as can be, with more digits than 64 bits hold, with exponents.
_SPELLINGS: tuple[Callable[[float], str], ...] = (
    repr,
    lambda number: f"{number:.25f}",
    lambda number: f"{number:.17e}",
    lambda number: f"{number * 1e5:.9f}E-5",
    lambda number: f"{number:.3f}0000e+00",
)


def tokenizers_to_try(sentences: Sequence[str]) -> dict[str, str]:
    """Name to the text of a tokenizer.json."""
    result = {name: _of_encoder(name, sentences) for name in _ENCODERS}
    content = _content(_trained(sentences))
    result["unigram-first"] = _with_parts(content, pre_tokenizers.Metaspace(prepend_scheme="first"))
    unsplit = pre_tokenizers.Metaspace(prepend_scheme="never", split=False)
    result["unigram-unsplit"] = _with_parts(content, unsplit, fallback=True)
    result["unigram-last-bits"] = _last_bits()
    result["bpe-bytes"] = _byte_fallback_pairs(sentences, ignore_merges=False)
    result["bpe-whole-words"] = _byte_fallback_pairs(sentences, ignore_merges=True)
    charsmap = normalizers.Precompiled(content.normalizer_spec.precompiled_charsmap)
    lowered = [normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase(), normalizers.Nmt()]
    spaces = [
        normalizers.Replace(Regex(r"\s{2,}|[\n\r\t]"), " "),
        normalizers.Replace(Regex(" {2,}"), " "),
        normalizers.Replace("''", '"'),
        normalizers.Strip(left=True, right=False),
    ]
    shown: dict[str, list[normalizers.Normalizer]] = {
        "map": [charsmap],
        "clusters": [grapheme_tables.every_byte()],
        "composed": [normalizers.NFC()],
        "composed-compatibly": [normalizers.NFKC()],
        "decomposed": [normalizers.NFD()],
        "stripped": lowered,
        "spaces": spaces,
    }
    for name, parts in shown.items():
        result[f"bytes-{name}"] = _bytes_of(normalizers.Sequence(parts))
    return result


def of_model(model: bytes) -> str:
    """The tokenizer of a SentencePiece model's bytes."""
    return _with_parts(_content(model), pre_tokenizers.Metaspace())


def _of_encoder(architecture: str, sentences: Sequence[str]) -> str:
    """As a directory of that architecture becomes one."""
    file, options = _ENCODERS[architecture]
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        (directory / file).write_bytes(_trained(sentences, **options))
        (directory / "config.json").write_text(json.dumps({"model_type": architecture}))
        (directory / "tokenizer_config.json").write_text("{}")
        text = read_tokenizer(directory)
    if text is None:
        raise AssertionError(f"`{file}` was not found")
    return text


def _trained(sentences: Sequence[str], **options: Any) -> bytes:
    written = io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter(sentences[:_LINES]), model_writer=written, vocab_size=_SIZE, hard_vocab_limit=False,
        num_threads=1, minloglevel=2, **options,
    )  # fmt: skip
    return written.getvalue()


def _content(model: bytes) -> Any:
    return sentencepiece_model_pb2.ModelProto.FromString(model)  # type: ignore[attr-defined]


def _with_parts(content: Any, splitter: pre_tokenizers.PreTokenizer, *, fallback: bool = False) -> str:
    """A Unigram of a SentencePiece model's content, and its map; `fallback` adds the pieces of all bytes."""
    pieces = [(piece.piece, piece.score) for piece in content.pieces]
    if fallback:
        pieces += [(f"<0x{byte:02X}>", 0.0) for byte in range(256)]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=content.trainer_spec.unk_id, byte_fallback=fallback))
    tokenizer.normalizer = normalizers.Precompiled(content.normalizer_spec.precompiled_charsmap)
    tokenizer.pre_tokenizer = splitter
    _add_specials(tokenizer)
    return tokenizer.to_str()


def _last_bits() -> str:
    """Every two letters as one piece that scores what both do: rounding decides, and the library's is its own."""
    draw = random.Random(SEED)
    letters = {letter: -struct.unpack("f", struct.pack("f", draw.uniform(3, 15)))[0] for letter in string.ascii_letters}
    pairs = {a + b: letters[a] + letters[b] for a, b in itertools.product(letters, repeat=2)}
    written = {"<unk>": "0"}
    for number, (piece, score) in enumerate((letters | pairs).items()):
        written[piece] = _SPELLINGS[number % len(_SPELLINGS)](score)
    vocabulary = ",".join(f'["{piece}",{score}]' for piece, score in written.items())
    return f'{{"pre_tokenizer":{{"type":"WhitespaceSplit"}},"model":{{"unk_id":0,"vocab":[{vocabulary}]}}}}'


def _add_specials(tokenizer: Tokenizer) -> None:
    tokenizer.add_special_tokens(
        [
            AddedToken("<s>", normalized=False),
            AddedToken("</s>", normalized=True, rstrip=True),
            AddedToken("<mask>", normalized=True, lstrip=True),
        ]
    )
    ends = [(name, tokenizer.token_to_id(name)) for name in ("<s>", "</s>")]
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A </s>", "<s> $A </s> </s> $B </s>", ends)


def _byte_fallback_pairs(sentences: Sequence[str], *, ignore_merges: bool) -> str:
    """Byte pairs of words with SentencePiece's mark, as Llama's. A byte is left out: characters that need it are
    unknown.
    """
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256) if byte != 0xB8]
    trainer = trainers.BpeTrainer(
        vocab_size=_SIZE, special_tokens=["<unk>", *bytes_], show_progress=False, limit_alphabet=120
    )
    tokenizer.train_from_iterator(sentences[:_LINES], trainer)
    content = json.loads(tokenizer.to_str())
    content["model"]["ignore_merges"] = ignore_merges
    content["added_tokens"] = []
    tokenizer = Tokenizer.from_str(json.dumps(content))
    if not ignore_merges:
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend(MARK), normalizers.Replace(" ", MARK)])
        tokenizer.pre_tokenizer = None
    _add_specials(tokenizer)
    return tokenizer.to_str()


def _bytes_of(normalizer: normalizers.Normalizer) -> str:
    """The bytes of what a normaliser makes of a text, as ids."""
    pieces = [("<unk>", 0.0), *((f"<0x{byte:02X}>", 0.0) for byte in range(256))]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=0, byte_fallback=True))
    tokenizer.normalizer = normalizer
    return tokenizer.to_str()
