"""Fewer rows in the embedding: the pieces of a tokenizer that some texts need, and no others.

A multilingual encoder of 250,000 pieces is mostly its embedding; texts of one language use a tenth of it. Every text
whose pieces were all kept is cut into the same pieces as before, and so has the same hidden states to the last bit:

    Unigram     the best path over all pieces is still there, and no path is new
    WordPiece   the longest piece that fits is still there, and no piece is new
    WordLevel   words are whole, and so kept or not
    BPE         all merges that made a kept piece are kept with what they merge, in their order

So that other words of the same letters need no unknown token, every piece of one character that the texts have is kept.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer

from spartanc.base.files import whole_folder
from spartanc.base.results import Result
from spartanc.errors import UsageError
from spartanc.models.backbone import Backbone, load_backbone
from spartanc.models.classifier import read_encoder_config
from spartanc.models.slim.directory import check_output, copy_companions, write_tensors
from spartanc.models.slim.texts import examples_of
from spartanc.models.tokenizer_files import TOKENIZER
from spartanc.models.weights import read_weights
from spartanc.runtime_py.text import errors_of_tokenizers

_IDS = ("pad_token_id", "bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id", "mask_token_id", "unk_token_id")
_AT_ONCE = 1000  # texts


@dataclass(frozen=True)
class VocabularyResult(Result):
    """pieces_before, pieces: rows of the embedding. texts: how many of each file."""

    out: str
    pieces_before: int
    pieces: int
    parameters_before: int
    parameters: int
    texts: dict[str, int]


def cut_vocabulary(directory: Path, files: Sequence[Path], out: Path, overwrite: bool = False) -> VocabularyResult:
    """Write the encoder of `directory` to `out` with the pieces that the texts of `files` need.

    Raises UsageError for files that can't be read, and for a tokenizer whose vocabulary can't be cut.
    """
    check_output(out, directory, overwrite)
    backbone = load_backbone(directory)
    tokenizer = json.loads(backbone.tokenizer)
    texts = {
        path: [text for each in examples_of(path) for text in (each.text, each.text_pair) if text] for path in files
    }
    kept = kept_ids(backbone.tokenizer, [text for some in texts.values() for text in some], _before_padding(backbone))
    tensors = read_weights(directory)
    rows = backbone.config["vocab_size"]
    tables = [_embedding_of(backbone)]
    # Of a head for masked words, which stays beside the encoder.
    tables += [name for name in backbone.ignored if tensors[name].shape[:1] == (rows,)]
    before = sum(tensor.numel() for tensor in tensors.values())
    index = torch.tensor(kept)
    for name in tables:
        tensors[name] = tensors[name][index].clone()
    with whole_folder(out) as folder:
        write_tensors(tensors, folder / "model.safetensors")
        (folder / "config.json").write_text(json.dumps(_config(backbone, kept), indent=2) + "\n", encoding="utf-8")
        (folder / TOKENIZER).write_text(json.dumps(with_pieces(tokenizer, kept), ensure_ascii=False), encoding="utf-8")
        copy_companions(directory, folder, vocabulary=False)
    after = sum(tensor.numel() for tensor in tensors.values())
    counts = {str(path): len(some) for path, some in texts.items()}
    return VocabularyResult(str(out), rows, len(kept), before, after, counts)


def _embedding_of(backbone: Backbone) -> str:
    """What the checkpoint calls the table with a row for each piece."""
    config_class, _, encoder_class = backbone.adapter.load_classes()
    with torch.device("meta"):
        encoder = encoder_class(config_class(**backbone.config))
    table = encoder.get_input_embeddings().weight
    name = next(name for name, parameter in encoder.named_parameters() if parameter is table)
    return backbone.stored_name(f"{backbone.adapter.base}.{name}")


def _before_padding(backbone: Backbone) -> range:
    """Ids that stay what they are: encoders like RoBERTa count positions from the number of the padding."""
    config = read_encoder_config(backbone.config)  # which knows what a class takes where config.json is silent
    pad = config.pad_token_id
    return range(pad + 1) if pad is not None and pad < config.max_position_embeddings else range(0)


def kept_ids(tokenizer: str, texts: Sequence[str], more: Iterable[int] = ()) -> list[int]:
    """Ids of the pieces that stay, ascending: special and added ones, `more`, the texts', what those are made of."""
    content, encoder = json.loads(tokenizer), Tokenizer.from_str(tokenizer)
    encoder.no_truncation()
    encoder.no_padding()
    ids = _ids(content)
    kept = {token["id"] for token in content["added_tokens"]} | set(more)
    with errors_of_tokenizers("the tokenizer can't encode a text"):
        for first in range(0, len(texts), _AT_ONCE):
            for row in encoder.encode_batch(texts[first : first + _AT_ONCE]):
                kept.update(row.ids)
    letters = {letter for piece, id_ in ids.items() if id_ in kept for letter in piece}
    kept |= {ids[each] for letter in letters for each in (letter, f"##{letter}") if each in ids}
    kept |= {ids[piece] for piece in _always(content) if piece in ids}
    if content["model"]["type"] == "BPE":
        kept |= _merged_from(content["model"]["merges"], ids, kept)
    return sorted(kept)


def with_pieces(tokenizer: dict[str, Any], kept: Sequence[int]) -> dict[str, Any]:
    """The content of a tokenizer.json with the pieces of the ids `kept`, numbered in their order."""
    new = {old: number for number, old in enumerate(kept)}
    model = dict(tokenizer["model"])
    if model["type"] == "Unigram":
        model["vocab"] = [model["vocab"][old] for old in kept if old < len(model["vocab"])]
        model["unk_id"] = None if model["unk_id"] is None else new[model["unk_id"]]
    else:
        model["vocab"] = {piece: new[old] for piece, old in model["vocab"].items() if old in new}
    if model["type"] == "BPE":
        model["merges"] = [merge for merge in model["merges"] if all(part in model["vocab"] for part in _parts(merge))]
    added = [{**token, "id": new[token["id"]]} for token in tokenizer["added_tokens"] if token["id"] in new]
    padding = tokenizer.get("padding")
    return {
        **tokenizer,
        "model": model,
        "added_tokens": added,
        "post_processor": _renumbered(tokenizer["post_processor"], new),
        "padding": None if padding is None else {**padding, "pad_id": new[padding["pad_id"]]},
    }


def _ids(tokenizer: dict[str, Any]) -> dict[str, int]:
    model = tokenizer["model"]
    if model["type"] == "Unigram":
        return {piece: number for number, (piece, _) in enumerate(model["vocab"])}
    marked = model.get("end_of_word_suffix") or (model["type"] == "BPE" and model.get("continuing_subword_prefix"))
    if model["type"] not in ("WordLevel", "WordPiece", "BPE") or marked:
        kind = f"{model['type']} tokenizer" + (" that marks parts of words" if marked else "")
        raise UsageError(f"the vocabulary of a {kind} can't be cut", hint="WordPiece, plain BPE and Unigram can be")
    return dict(model["vocab"])


def _always(tokenizer: dict[str, Any]) -> Iterable[str]:
    """Pieces that any text may need: the unknown one, bytes, and the least likely, from which the score of unknown
    characters follows.
    """
    model = tokenizer["model"]
    yield from () if model.get("unk_token") is None else (model["unk_token"],)
    if model["type"] == "Unigram":
        yield from () if model["unk_id"] is None else (model["vocab"][model["unk_id"]][0],)
        yield min(model["vocab"], key=lambda each: each[1])[0]
    if model.get("byte_fallback"):
        yield from (f"<0x{byte:02X}>" for byte in range(256))
    if model["type"] == "BPE":
        yield from (piece for piece in model["vocab"] if len(piece) == 1)


def _parts(merge: str | list[str]) -> tuple[str, str, str]:
    left, right = merge.split(" ") if isinstance(merge, str) else merge
    return left, right, left + right


def _merged_from(merges: Sequence[str | list[str]], ids: dict[str, int], kept: set[int]) -> set[int]:
    """Ids of every piece on the way from characters to the kept pieces, by the merges in their order."""
    ranks = {_parts(merge)[:2]: rank for rank, merge in enumerate(merges)}
    found = set()
    for piece in [piece for piece, id_ in ids.items() if id_ in kept]:
        parts = list(piece)
        while len(parts) > 1:
            ranked = [(ranks.get(pair), i) for i, pair in enumerate(pairwise(parts))]
            known = [(rank, i) for rank, i in ranked if rank is not None]
            if not known:
                break
            _, i = min(known)
            parts[i : i + 2] = [parts[i] + parts[i + 1]]
            found.add(ids[parts[i]])
    return found


def _renumbered(processor: dict[str, Any] | None, new: dict[int, int]) -> dict[str, Any] | None:
    """A post-processor with the new ids of the special tokens that it adds."""
    if processor is None:
        return None
    found = dict(processor)
    if processor["type"] == "Sequence":
        found["processors"] = [_renumbered(each, new) for each in processor["processors"]]
    for end in ("sep", "cls"):
        if end in processor:
            found[end] = [processor[end][0], new[processor[end][1]]]
    if "special_tokens" in processor:
        found["special_tokens"] = {
            name: {**token, "ids": [new[old] for old in token["ids"]]}
            for name, token in processor["special_tokens"].items()
        }
    return found


def _config(backbone: Backbone, kept: Sequence[int]) -> dict[str, Any]:
    new = {old: number for number, old in enumerate(kept)}
    ids = {name: new.get(backbone.config[name]) for name in _IDS if isinstance(backbone.config.get(name), int)}
    config = json.loads((backbone.directory / "config.json").read_text(encoding="utf-8"))
    return {**config, "vocab_size": len(kept), **{name: id_ for name, id_ in ids.items() if id_ is not None}}
