"""Pretrained encoders as Hugging Face writes them: a directory with config.json, weights and a tokenizer."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from spartanc.errors import SpartancError, UsageError
from spartanc.models.checkpoint import (
    find_segment_separator,
    find_weights,
    listed,
    read_config,
    read_tensors,
    read_tokenizer,
)
from spartanc.models.classifier import SpartanClassifier
from spartanc.models.encoders.registry import adapter_for
from spartanc.models.memory import SpartanConfig


@dataclass
class Backbone:
    """A pretrained encoder: its config, its tensors by their names in Hugging Face's sequence classifier, its
    tokenizer, and the names of tensors that a classifier has no use for (a language model's head).
    """

    config: dict[str, Any]
    tensors: dict[str, Tensor]
    tokenizer: str
    ignored: list[str] = field(default_factory=list)


def load_backbone(directory: str | Path, layers: int | None = None) -> Backbone:
    """Read an encoder's directory; `layers` keeps only its first so many layers.

    Raises UsageError where it is missing, unreadable or malformed, UnsupportedModelError for other
    architectures.
    """
    directory = Path(directory)
    if not directory.is_dir():
        raise UsageError(
            f"no encoder at `{directory}`",
            hint="give a directory with config.json, weights and tokenizer.json",
        )
    try:
        config = read_config(directory)
        adapter = adapter_for(config.get("model_type"))
        tokenizer = read_tokenizer(directory)
        if tokenizer is None:
            raise UsageError(f"`{directory}` has no tokenizer", hint="tokenizer.json must lie beside config.json")
        if layers is not None:
            count = config.get(adapter.config_layers, config.get("num_hidden_layers"))
            if not isinstance(count, int) or not 1 <= layers <= count:
                raise UsageError(f"cannot keep `{layers}` layers of an encoder that has `{count}`")
            config = {**config, adapter.config_layers: layers}
        tensors, ignored = {}, []
        for stored, tensor in read_tensors(find_weights(directory)).items():
            # BERT's first checkpoints call a LayerNorm's parameters by TensorFlow's names.
            name = stored.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")
            if not name.startswith(f"{adapter.base}.") and name.split(".")[0] in _BASE_PARTS:
                name = f"{adapter.base}.{name}"
            prefix = f"{adapter.layers}."
            if name.startswith(prefix) and layers is not None:
                index = name.removeprefix(prefix).split(".")[0]
                if index.isdigit() and int(index) >= layers:
                    continue
            if name.startswith(f"{adapter.base}."):
                tensors[name] = tensor
            else:
                ignored.append(stored)
    except SpartancError as error:
        if str(directory) in error.message:
            raise
        raise type(error)(f"`{directory}`: {error.message}", error.hint) from error
    return Backbone(config, tensors, tokenizer, ignored)


# What an encoder's own state dict begins with when it was saved without a head.
_BASE_PARTS = ("embeddings", "embeddings_project", "encoder", "transformer", "pooler")


def build_classifier(
    backbone: Backbone, spartan: SpartanConfig | None, outputs: int, pairs: bool, pooling: str = "pooler"
) -> SpartanClassifier:
    """An untrained classifier over the encoder; memories and head are drawn from torch's generator.

    pairs: whether inputs are two sentences, which an encoder with segments then tells apart.
    """
    config = {**backbone.config, "num_labels": outputs}
    for name in ("id2label", "label2id", "problem_type", "architectures"):
        config.pop(name, None)
    separator = find_segment_separator(backbone.tokenizer, config) if pairs else None
    try:
        module = SpartanClassifier(config, spartan, separator, pooling)
    except SpartancError:
        raise
    except Exception as error:  # whatever a constructor raises on values that do not fit together
        raise UsageError(f"the encoder's config does not describe a model: {error}") from error
    adapter = module.adapter
    state = module.state_dict()
    expected = {name for name in state if name.startswith(f"network.{adapter.base}.") and ".memory." not in name}
    given = {module.place(name): tensor for name, tensor in backbone.tensors.items()}
    # A pooler stands in few checkpoints of language models; without one a classifier starts from a random
    # one.
    missing = sorted(name for name in expected - set(given) if f"{adapter.base}.pooler." not in name)
    if missing:
        raise UsageError(f"the encoder lacks tensors: {listed([name.removeprefix('network.') for name in missing])}")
    for name, tensor in given.items():
        if name not in expected:
            backbone.ignored.append(name.removeprefix("network."))
            continue
        if tensor.shape != state[name].shape:
            got, wanted = list(tensor.shape), list(state[name].shape)
            raise UsageError(f"`{name.removeprefix('network.')}` has shape `{got}`, expected `{wanted}`")
        if not tensor.is_floating_point() or not torch.isfinite(tensor).all():
            raise UsageError(f"`{name.removeprefix('network.')}` holds values that are not finite numbers")
        state[name] = tensor
    module.load_state_dict(state)
    return module
