"""Texts become the ids that the tokenizer's own library gives."""

import json

import pytest
from tokenizers import Tokenizer

from spartanc.compiler.errors import UsageError
from spartanc.runtime_py.text import TextEncoder
from support.models import tiny_tokenizer


def test_ids_are_the_tokenizers_and_unpadded():
    content = json.loads(tiny_tokenizer())
    content["padding"] = {
        "strategy": {"Fixed": 20},
        "direction": "Right",
        "pad_to_multiple_of": None,
        "pad_id": 0,
        "pad_type_id": 0,
        "pad_token": "[PAD]",
    }
    content["truncation"] = {"max_length": 3, "strategy": "LongestFirst", "stride": 0, "direction": "Right"}
    encoder = TextEncoder(json.dumps(content), max_length=16)
    plain = Tokenizer.from_str(tiny_tokenizer())
    for texts in (("where is the card",), ("where is the card", "my card"), ("",)):
        encoded = encoder.encode(*texts)
        assert encoded.ids == plain.encode(*texts).ids
        assert not encoded.truncated


def test_long_text_is_cut_and_said_so():
    encoder = TextEncoder(tiny_tokenizer(), max_length=8)
    assert not encoder.encode("good " * 6).truncated
    encoded = encoder.encode("good " * 7)
    assert encoded.truncated
    assert len(encoded.ids) == 8
    assert encoded.ids[-1] == encoder.token_id("[SEP]")
    pair = encoder.encode("good " * 7, "bad")
    assert pair.truncated
    assert len(pair.ids) == 8
    assert encoder.token_id("bad") in pair.ids


def test_wrong_tokenizer_and_wrong_length():
    with pytest.raises(UsageError, match="malformed tokenizer"):
        TextEncoder("{}", 16)
    with pytest.raises(UsageError, match="max length `4` leaves no room"):
        TextEncoder(tiny_tokenizer(), 4)


def test_what_ends_the_tokenizers_library_is_one_clear_error():
    """It gives up with a PanicException, which is no Exception."""
    content = json.loads(tiny_tokenizer())
    content["post_processor"]["special_tokens"].pop("[SEP]")
    with pytest.raises(UsageError, match="tokenizer"):
        TextEncoder(json.dumps(content), 16).encode("where is the card")
