"""The slim encoder as an ordinary Hugging Face directory: AutoModel loads it, and so does everything here.

A config knows one width for all layers. Where widths are uneven, narrower layers have units of zeros up to the widest:
they compute nothing, and `compile` leaves them out.

Weights keep the names that the checkpoint has for them; what is no part of the encoder (a head for masked words) is
copied. config.json says where it comes from in `slimmed`, which transformers keeps and does not read.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from spartanc.base.files import whole_path
from spartanc.errors import UsageError
from spartanc.models.backbone import Backbone
from spartanc.models.slim.encoder import Encoder
from spartanc.models.weights import read_weights

# What stands beside the weights and means the same for a narrower encoder.
_VOCABULARY = ("tokenizer.json", "added_tokens.json", "vocab.*", "merges.txt", "*.model")
_COPIED = (
    "tokenizer_config.json",
    "special_tokens_map.json",
    "modules.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
    "LICENSE*",
    "NOTICE*",
)


def check_output(out: Path, backbone: Path, overwrite: bool) -> None:
    """UsageError unless an encoder made from `backbone` can be written to `out`."""
    if out.exists() and not out.is_dir():
        raise UsageError(f"`{out}` is a file", hint="--out is the directory to write")
    if out.is_dir() and any(out.iterdir()) and not overwrite:
        raise UsageError(f"`{out}` is not empty", hint="--overwrite replaces it when the new one is complete")
    if backbone.resolve() != out.resolve() and backbone.resolve().is_relative_to(out.resolve()):
        raise UsageError(f"`{out}` holds the encoder, which would be replaced with it", hint="give --out another name")
    if out.resolve() == backbone.resolve():
        raise UsageError(f"`{out}` is the encoder itself", hint="give --out another name")


def write_directory(folder: Path, backbone: Backbone, slim: Encoder, slimmed: dict[str, Any]) -> None:
    """Fill `folder`; `slim`'s layers become equally wide. Raises OSError.

    slimmed: what config.json says of where it comes from.
    """
    tensors = read_weights(backbone.directory)
    width = max(pair.units for pair in slim.feed_forwards())
    for pair in slim.feed_forwards():
        pair.widen(width)
    for name, tensor in slim.tensors().items():
        stored = backbone.stored_name(name)
        if stored in tensors:
            tensors[stored] = tensor.detach().to(tensors[stored].dtype)
        elif name.endswith(".bias"):  # a bias that came with solving a matrix anew
            tensors[stored] = tensor.detach()
    write_tensors(tensors, folder / "model.safetensors")
    config = json.loads((backbone.directory / "config.json").read_text(encoding="utf-8"))
    config |= {backbone.adapter.config_feed_forward: width, "slimmed": slimmed}
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    copy_companions(backbone.directory, folder)


def write_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """A safetensors file that whoever the umask lets may read; the library's own is for this user alone."""
    with whole_path(path) as made:
        save_file({name: tensor.contiguous().clone() for name, tensor in tensors.items()}, made)


def copy_companions(directory: Path, folder: Path, vocabulary: bool = True) -> None:
    """Copy what stands beside the weights of `directory` to `folder`; the tokenizer's pieces only if `vocabulary`."""
    for pattern in (*_COPIED, *(_VOCABULARY if vocabulary else ())):
        for path in sorted(directory.glob(pattern)):
            if path.is_file():
                shutil.copyfile(path, folder / path.name)
    for path in sorted(directory.glob("*_Pooling/config.json")):
        (folder / path.parent.name).mkdir()
        shutil.copyfile(path, folder / path.parent.name / path.name)
