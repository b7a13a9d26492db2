"""Tokenizers of directories without a tokenizer.json: SentencePiece models, held to sentencepiece itself."""

import io
import json
import sys
import unicodedata

import pytest
import sentencepiece
from tokenizers import Tokenizer

from spartanc.errors import MissingToolError, UsageError
from spartanc.models.tokenizer_files import read_tokenizer

SENTENCE = (
    "where is the nearest station how far does it go naïve café straße 日本語 テキスト что это значит 12 345 1/2 kg"
)
UNKNOWN = ("<unk>", "[UNK]")
TEXTS = [
    "where is the nearest station",
    "how  far   does it go ?",
    "１２３ ﬁne",
    "½ ² ㎏ …",
    "naïve cafe\u0301 STRASSE straße",
    "日本語のテキスト",
    "что это значит",
    "a\u00a0b\u3000c",
    "Ünïcödé ﷺ ½",
    "12345 1/2kg",
]
SPECIAL = {
    "xlm-roberta": {},
    "camembert": {},
    "albert": {"pad_piece": "<pad>", "control_symbols": "[CLS],[SEP],[MASK]"},
    "deberta-v2": {"unk_piece": "[UNK]", "control_symbols": "[PAD],[CLS],[SEP],[MASK]"},
}
FILES = {"xlm-roberta": "sentencepiece.bpe.model", "camembert": "sentencepiece.bpe.model"}
FILES |= {"albert": "spiece.model", "deberta-v2": "spm.model"}


@pytest.fixture(scope="module")
def model_of():
    made = {}

    def make(architecture, **more):
        key = (architecture, *more.items())
        if key not in made:
            generated = io.BytesIO()
            words = SENTENCE.split()
            lines = [" ".join(words[i % len(words)] for i in range(start, start + 9)) for start in range(400)]
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=iter(lines), model_writer=generated, vocab_size=110, hard_vocab_limit=False,
                minloglevel=2, **SPECIAL[architecture], **more,
            )  # fmt: skip
            made[key] = generated.getvalue()
        return made[key]

    return make


def directory_of(architecture, data, folder, **config):
    (folder / FILES[architecture]).write_bytes(data)
    (folder / "config.json").write_text(json.dumps({"model_type": architecture}))
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


def without_accents(text):
    return "".join(letter for letter in unicodedata.normalize("NFKD", text) if not unicodedata.combining(letter))


def pieces(processor, text):
    return [None if processor.is_unknown(id_) else processor.id_to_piece(id_) for id_ in processor.encode(text)]


@pytest.mark.parametrize("architecture", SPECIAL)
def test_a_sentencepiece_model_gives_the_pieces_that_sentencepiece_does(architecture, model_of, tmp_path):
    data = model_of(architecture)
    tokenizer = Tokenizer.from_str(read_tokenizer(directory_of(architecture, data, tmp_path)))
    processor = sentencepiece.SentencePieceProcessor(model_proto=data)
    for text in TEXTS:
        tokens = tokenizer.encode(text, add_special_tokens=False).tokens
        known = [
            token if token not in UNKNOWN and tokenizer.token_to_id(token) is not None else None for token in tokens
        ]
        assert known == pieces(processor, without_accents(text).lower() if architecture == "albert" else text), text
    [first, *_, last] = tokenizer.encode("where is it").tokens
    assert (first, last) in (("<s>", "</s>"), ("[CLS]", "[SEP]"))


def test_deberta_keeps_its_models_normalisation_map(model_of, tmp_path):
    """transformers drops it, and gives full-width digits no pieces."""
    for name, config in (("cased", {}), ("uncased", {"do_lower_case": True})):
        (tmp_path / name).mkdir()
        text = read_tokenizer(directory_of("deberta-v2", model_of("deberta-v2"), tmp_path / name, **config))
        assert Tokenizer.from_str(text).encode("１２３", add_special_tokens=False).tokens[-1] == "3"
        assert text.count('"Precompiled"') == 1


def test_a_model_without_a_map_gets_none(model_of, tmp_path):
    data = model_of("deberta-v2", normalization_rule_name="identity")
    with pytest.raises(UsageError, match="another tokenizer of"):  # transformers composes accents, the model does not
        read_tokenizer(directory_of("deberta-v2", data, tmp_path))


def test_without_the_package_the_error_says_what_to_install(model_of, tmp_path, monkeypatch):
    directory_of("xlm-roberta", model_of("xlm-roberta"), tmp_path)
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    with pytest.raises(MissingToolError, match="needs the packages sentencepiece and protobuf") as error:
        read_tokenizer(tmp_path)
    assert "spartanc[sentencepiece]" in error.value.hint


def test_a_damaged_model_is_named(tmp_path):
    directory_of("xlm-roberta", b"no model", tmp_path)
    with pytest.raises(UsageError, match=r"sentencepiece.bpe.model` is not a SentencePiece model"):
        read_tokenizer(tmp_path)


def test_pieces_that_transformers_takes_for_words_are_refused(model_of, tmp_path):
    directory_of("xlm-roberta", model_of("xlm-roberta"), tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(UsageError, match="as a WordPiece vocabulary") as error:
        read_tokenizer(tmp_path)
    assert "tokenizer_class" in error.value.hint


def test_a_tokenizer_json_comes_first(model_of, tmp_path):
    directory_of("xlm-roberta", b"never read", tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    assert read_tokenizer(tmp_path) == "{}"
