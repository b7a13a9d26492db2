"""Texts become the ids that the tokenizer's own library gives."""

import json
import random
import resource

import pytest
from tokenizers import Tokenizer

from spartanc.errors import UsageError
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


@pytest.mark.parametrize("roberta_like", [False, True])
def test_ids_of_long_pairs_are_what_the_library_gives_at_length(roberta_like):
    """They are made from the beginnings of the texts, of which the longer one stays the longer."""
    tokenizer = Tokenizer.from_str(tiny_tokenizer(roberta_like))
    draw = random.Random(2026)
    for max_length in (8, 15):
        encoder = TextEncoder(tiny_tokenizer(roberta_like), max_length)
        tokenizer.enable_truncation(max_length)
        for _ in range(300):
            sizes = [draw.choice([0, 1, max_length, draw.randrange(12 * max_length)]) for _ in range(2)]
            one, other = (" ".join(draw.choices(["good", "bad", "card", "strange", "é"], k=size)) for size in sizes)
            pair = (one, draw.choice([one, other]))
            expected, encoded = tokenizer.encode(*pair), encoder.encode(*pair)
            assert encoded.ids == expected.ids, pair
            assert encoded.truncated == bool(expected.overflowing), pair


@pytest.mark.parametrize("roberta_like", [False, True])
def test_a_pair_of_very_long_texts_takes_no_more_than_both_alone(roberta_like):
    encoder = TextEncoder(tiny_tokenizer(roberta_like), 64)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert len(encoder.encode("good film " * 20_000, "the card " * 30_000).ids) == 64
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000  # kilobytes; it was gigabytes
