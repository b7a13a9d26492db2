"""Cut vocabularies: the same pieces and hidden states for texts of kept pieces, in every kind of tokenizer."""

import io
import json

import pytest
import sentencepiece
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoModel, BertConfig, BertForMaskedLM

from spartanc.compiler.cli import main
from spartanc.errors import UsageError
from spartanc.models.backbone import build_classifier, load_backbone
from spartanc.models.slim.vocabulary import cut_vocabulary, kept_ids, with_pieces
from spartanc.models.tokenizer_files import read_tokenizer
from support.cli import spartanc, spartanc_json
from support.encoders import save_encoder
from support.models import ARCHITECTURES

SIZES, THINGS = ("small", "large", "green", "farthest"), ("house", "river", "mountain")
TEXTS = [f"the {SIZES[i % 4]} {THINGS[i % 3]} is {i} miles from the old station" for i in range(48)]
OTHERS = ["der Bahnhof liegt weit hinter dem großen Fluss", "la gare est très loin d'ici, à dix kilomètres"] * 12
NEW = ["the farthest house is 7 miles from the river", "an old green mountain 11"]


def wordpiece():
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer.train_from_iterator(TEXTS + OTHERS, trainers.WordPieceTrainer(vocab_size=190, special_tokens=special))
    tokenizer.post_processor = processors.TemplateProcessing(
        "[CLS] $A [SEP]",
        "[CLS] $A [SEP] $B:1 [SEP]:1",
        [(name, tokenizer.token_to_id(name)) for name in ("[CLS]", "[SEP]")],
    )
    return tokenizer.to_str()


def byte_level():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    tokenizer.train_from_iterator(
        TEXTS + OTHERS,
        trainers.BpeTrainer(
            vocab_size=420, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
        ),
    )
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    return tokenizer.to_str()


def unigram(folder):
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS + OTHERS),
        model_writer=model,
        vocab_size=150,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    (folder / "sentencepiece.bpe.model").write_bytes(model.getvalue())
    (folder / "config.json").write_text('{"model_type": "xlm-roberta"}')
    return read_tokenizer(folder)


@pytest.fixture(params=["wordpiece", "byte_level", "unigram"])
def tokenizer(request, tmp_path):
    return unigram(tmp_path) if request.param == "unigram" else globals()[request.param]()


def cut(tokenizer, texts):
    kept = kept_ids(tokenizer, texts)
    return kept, Tokenizer.from_str(json.dumps(with_pieces(json.loads(tokenizer), kept)))


def test_every_text_of_kept_pieces_is_cut_as_before(tokenizer):
    before = Tokenizer.from_str(tokenizer)
    kept, after = cut(tokenizer, TEXTS)
    assert len(kept) < 0.9 * before.get_vocab_size()
    tried = 0
    for text in TEXTS + NEW + OTHERS:
        old = before.encode(text)
        if set(old.ids) <= set(kept):
            new = after.encode(text)
            assert new.tokens == old.tokens
            assert [kept[id_] for id_ in new.ids] == old.ids
            tried += 1
    assert tried > len(TEXTS)


def test_words_of_the_same_letters_need_no_unknown_piece(tokenizer):
    _, after = cut(tokenizer, TEXTS)
    unknown = {after.token_to_id(name) for name in ("<unk>", "[UNK]")}
    assert not unknown & set(after.encode("tallest ruins").ids)


def test_a_pair_has_its_special_tokens(tokenizer):
    kept, after = cut(tokenizer, TEXTS)
    old = Tokenizer.from_str(tokenizer).encode(TEXTS[0], TEXTS[1])
    new = after.encode(TEXTS[0], TEXTS[1])
    assert [kept[id_] for id_ in new.ids] == old.ids
    assert new.type_ids == old.type_ids


@pytest.fixture
def encoder(tmp_path):
    """With a head for masked words, as checkpoints have one."""
    text = wordpiece()
    pieces = Tokenizer.from_str(text).get_vocab_size()
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=pieces + 6, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
        max_position_embeddings=40,
    )  # fmt: skip
    BertForMaskedLM(config).save_pretrained(tmp_path / "encoder")
    (tmp_path / "encoder/tokenizer.json").write_text(text)
    return tmp_path / "encoder"


@pytest.fixture
def texts(tmp_path):
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS))
    return tmp_path / "texts.txt"


def test_hidden_states_are_the_very_ones(encoder, texts, tmp_path):
    found = cut_vocabulary(encoder, [texts], tmp_path / "out")
    assert found.pieces < 0.7 * found.pieces_before
    assert found.parameters < found.parameters_before
    states = []
    for directory in (encoder, tmp_path / "out"):
        ids = Tokenizer.from_str((directory / "tokenizer.json").read_text()).encode(TEXTS[3]).ids
        with torch.inference_mode():
            states.append(AutoModel.from_pretrained(directory)(torch.tensor([ids])).last_hidden_state)
    torch.testing.assert_close(*states, rtol=0, atol=0)


@pytest.mark.parametrize("masked", [False, True], ids=["alone", "masked language model"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_table_of_every_architecture_is_found(architecture, masked, tmp_path):
    save_encoder(tmp_path / "encoder", architecture, masked=masked)
    (tmp_path / "texts.txt").write_text("where is the card\nwho was born in the city\n")
    found = cut_vocabulary(tmp_path / "encoder", [tmp_path / "texts.txt"], tmp_path / "out")
    assert found.pieces < found.pieces_before
    states = []
    for directory in (tmp_path / "encoder", tmp_path / "out"):
        ids = torch.tensor([Tokenizer.from_file(str(directory / "tokenizer.json")).encode("where is the city").ids])
        classifier = build_classifier(load_backbone(directory), None, 2, pairs=False, pooling="mean").eval()
        with torch.inference_mode():
            states.append(classifier.trace(ids, torch.ones_like(ids)).hidden_states[-1])
    torch.testing.assert_close(*states, rtol=0, atol=0)


def test_the_directory_is_one_to_train_on(encoder, texts, tmp_path):
    result = spartanc_json("slim", "--backbone", encoder, "--vocabulary-from", texts, "--out", tmp_path / "out")
    backbone = load_backbone(tmp_path / "out")
    assert backbone.config["vocab_size"] == result["pieces"]
    assert result["texts"] == {str(texts): len(TEXTS)}
    assert (tmp_path / "out/model.safetensors").stat().st_mode & 0o044 == 0o044
    assert spartanc("slim", "--backbone", encoder, "--vocabulary-from", texts, "--out", tmp_path / "out").exit_code == 2


def test_what_slim_needs_is_said(encoder, texts, tmp_path):
    refused = spartanc("slim", "--backbone", encoder, "--out", tmp_path / "out")
    assert refused.exit_code == 2
    assert "--vocabulary-from" in refused.stderr
    words = ("slim", "--backbone", encoder, "--out", tmp_path / "out", "--target", "rpi4", "--vocabulary-from", texts)
    assert "--texts" in spartanc(*words).stderr


def test_options_that_fewer_pieces_have_no_use_for_are_refused_by_name(encoder, texts, tmp_path):
    words = ("slim", "--backbone", encoder, "--vocabulary-from", texts, "--out", tmp_path / "out")
    given = {
        "--target": "rpi4", "--speedup": 1.3, "--length": 128, "--minutes": 10, "--steps": 3, "--judge": texts,
        "--sparsifier": "second-order", "--uneven": None, "--precision": "fp32", "--seed": 0, "--resume": None,
    }  # fmt: skip
    for name, value in given.items():
        refused = spartanc(*words, name, *([] if value is None else [value]))
        assert refused.exit_code == 2, name
        assert f"error: {name}: of no use without `--texts FILE`" in refused.stderr
    assert "--speedup, --uneven:" in spartanc(*words, "--uneven", "--speedup", 2).stderr
    assert not (tmp_path / "out").exists()
    taken = {"--backbone", "--texts", "--vocabulary-from", "--out", "--overwrite", "--json", "--help"}
    options = {option.opts[0] for option in main.commands["slim"].params}
    assert options - taken == set(given), "an option that is new: refused, or of use"
    assert spartanc(*words, "--overwrite").exit_code == 0


def test_steps_and_minutes_are_one_or_the_other(encoder, texts, tmp_path):
    words = ("slim", "--backbone", encoder, "--texts", texts, "--target", "rpi4", "--out", tmp_path / "out")
    refused = spartanc(*words, "--minutes", 1, "--steps", 3)
    assert refused.exit_code == 2 and "--minutes or --steps" in refused.stderr


def test_the_encoder_itself_is_not_replaced_by_one_of_fewer_pieces_and_units(encoder, texts, tmp_path):
    before = {path.name: path.read_bytes() for path in encoder.iterdir()}
    words = ("slim", "--backbone", encoder, "--vocabulary-from", texts, "--texts", texts, "--target", "rpi4")
    for out in (encoder, tmp_path):
        refused = spartanc(*words, "--length", 16, "--steps", 1, "--speedup", 1.01, "--out", out, "--overwrite")
        assert refused.exit_code == 2
        assert "the encoder" in refused.stderr
    assert {path.name: path.read_bytes() for path in encoder.iterdir()} == before


def test_a_tokenizer_that_marks_ends_of_words_is_refused():
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix="</w>", vocab={"a</w>": 0}, merges=[]))
    with pytest.raises(UsageError, match="marks parts of words"):
        kept_ids(tokenizer.to_str(), ["a"])
