"""A text that a tokenizer can't encode, or makes nothing of, is named by its place."""

import json

import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from spartanc.errors import UsageError
from spartanc.runtime_py.data import Example
from spartanc.runtime_py.encoding import encode_examples
from spartanc.runtime_py.text import TextEncoder
from support.models import tiny_tokenizer


def without_unknown() -> TextEncoder:
    """A tokenizer that fails on words it does not have."""
    definition = json.loads(tiny_tokenizer())
    del definition["model"]["vocab"]["[UNK]"]
    return TextEncoder(json.dumps(definition), 16)


def that_drops_invisible() -> TextEncoder:
    """As BERT's does: control and format characters become nothing."""
    vocabulary = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "film": 4}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return TextEncoder(tokenizer.to_str(), 16)


def said(examples, encoder, source=None, **options):
    with pytest.raises(UsageError) as caught:
        encode_examples(examples, encoder, source, **options)
    return caught.value.message


def test_error_of_a_tokenizer_names_file_and_line_or_row():
    encoder = without_unknown()
    good = Example("a good film", line=1)
    assert len(encode_examples([good], encoder)[0].ids) == 5
    assert said([good, Example("xyzzy", line=7)], encoder, "a.csv").startswith("`a.csv` line 7: the tokenizer")
    assert said([good, Example("xyzzy", row=2)], encoder).startswith("row 2: the tokenizer")
    assert said([good, Example("xyzzy")], encoder).startswith("row 2: the tokenizer")
    assert said([Example("xyzzy")], encoder).startswith("the tokenizer")


def test_text_of_which_no_token_is_left_is_refused_where_it_is_asked():
    encoder = that_drops_invisible()
    rows = [Example("film"), Example("\u200b"), Example("film", "\u200b"), Example("film", "film")]
    assert [row.empty for row in encode_examples(rows, encoder)] == [False, True, True, False]
    assert said(rows, encoder, allow_empty=False) == "row 2: nothing of a text becomes a token"
