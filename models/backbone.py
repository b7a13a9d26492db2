"""Pretrained encoders as Hugging Face writes them: a directory with config.json, weights and a tokenizer."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from spartanc.errors import SpartancError, UsageError
from spartanc.models.checkpoint import find_segment_separator
from spartanc.models.classifier import SpartanClassifier
from spartanc.models.encoders.adapter import EncoderAdapter
from spartanc.models.encoders.registry import adapter_of
from spartanc.models.foreign import explain_file, explain_missing
from spartanc.models.memory import SpartanConfig
from spartanc.models.tokenizer_files import SENTENCEPIECE, TOKENIZER, VOCABULARIES, read_tokenizer
from spartanc.models.weights import directory_digests, listed, read_config, read_weights

# What an encoder's own state dict begins with when it was saved without a head.
_BASE_PARTS = ("embeddings", "embeddings_project", "encoder", "transformer", "layers", "final_norm", "pooler")


@dataclass
class Backbone:
    """A pretrained encoder.

    tensors: by their names in Hugging Face's sequence classifier, those of layers that are kept. files: what each of
    them is called in the checkpoint. ignored: names in the checkpoint of tensors that a classifier has no use for.
    layers_cut: whether layers were left out.
    """

    directory: Path
    config: dict[str, Any]
    tensors: dict[str, Tensor]
    tokenizer: str
    ignored: list[str] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    layers_cut: bool = False

    @property
    def adapter(self) -> EncoderAdapter:
        return adapter_of(self.config)

    def stored_name(self, name: str) -> str:
        """What the checkpoint calls the tensor `name`, or would call it if it held it."""
        if name in self.files:
            return self.files[name]
        base = f"{self.adapter.base}."
        if any(ours != theirs and ours == base + theirs for ours, theirs in self.files.items()):
            name = name.removeprefix(base)
        if any("LayerNorm.gamma" in theirs for theirs in self.files.values()):
            name = name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
        return name

    def digests(self) -> dict[str, str]:
        """SHA-256 of what a training depends on, see `directory_digests`."""
        return directory_digests(self.directory, self.tokenizer)

    def without_use(self) -> str:
        """What of the checkpoint was left out, in a few words; "" where nothing was."""
        counts = Counter(name.split(".")[0] for name in self.ignored if not name.endswith("position_ids"))
        own_head = [name for name in ("pre_classifier", "classifier") if name in counts]
        said = [f"`{name}` ({count} tensors)" for name, count in counts.items() if name not in own_head]
        if own_head:
            labels = self.config.get("id2label")
            names = f", labels {', '.join(map(str, labels.values()))}" if isinstance(labels, dict) and labels else ""
            said.append(f"its own classifier ({sum(counts[name] for name in own_head)} tensors{names})")
        return ", ".join(said)


def load_backbone(directory: str | Path, layers: int | None = None) -> Backbone:
    """Read an encoder's directory; `layers` keeps only its first so many layers.

    Raises UsageError where it is missing, unreadable or malformed, UnsupportedModelError for other
    architectures.
    """
    directory = Path(directory)
    if not directory.exists():
        explain_missing(directory, "encoder")
    if not directory.is_dir():
        explain_file(directory)
    try:
        return _read(directory, layers)
    except SpartancError as error:
        if str(directory) in error.message:
            raise
        raise type(error)(f"`{directory}`: {error.message}", error.hint) from error


def _read(directory: Path, layers: int | None) -> Backbone:
    config = read_config(directory)
    adapter = adapter_of(config)
    tokenizer = read_tokenizer(directory)
    if tokenizer is None:
        raise UsageError(
            f"`{directory}` has no tokenizer",
            hint=f"{TOKENIZER} must lie beside config.json, or one of {', '.join((*VOCABULARIES, *SENTENCEPIECE))}",
        )
    cut = False
    if layers is not None:
        count = config.get(adapter.config_layers, config.get("num_hidden_layers"))
        if not isinstance(count, int) or not 1 <= layers <= count:
            raise UsageError(f"cannot keep `{layers}` layers of an encoder that has `{count}`")
        config, cut = {**config, adapter.config_layers: layers}, layers < count
        if isinstance(kinds := config.get("layer_types"), list):
            config["layer_types"] = kinds[:layers]
    backbone = Backbone(directory, config, {}, tokenizer, layers_cut=cut)
    in_layer = re.compile(rf"{re.escape(adapter.layers)}\.(\d+)\.")
    for stored, name, tensor in _renamed(read_weights(directory), adapter):
        if not name.startswith(f"{adapter.base}.") and name.split(".")[0] in _BASE_PARTS:
            name = f"{adapter.base}.{name}"
        layer = in_layer.match(name)
        if layer is not None and layers is not None and int(layer[1]) >= layers:
            continue
        if name.startswith(f"{adapter.base}.") or _is_of_pretrained_head(name, adapter):
            backbone.tensors[name], backbone.files[name] = tensor, stored
        else:
            backbone.ignored.append(stored)
    return backbone


def _renamed(weights: dict[str, Tensor], adapter: EncoderAdapter) -> Iterator[tuple[str, str, Tensor]]:
    """(name in the checkpoint, name in the model, tensor)."""
    for stored, tensor in weights.items():
        # BERT's first checkpoints call a LayerNorm's parameters by TensorFlow's names.
        name = stored.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")
        for ours, part in [(name, tensor)] if adapter.unpack is None else adapter.unpack(name, tensor):
            yield stored, ours, part


def build_classifier(
    backbone: Backbone, spartan: SpartanConfig | None, outputs: int, pairs: bool, pooling: str = "pooler"
) -> SpartanClassifier:
    """An untrained classifier over the encoder; memories and head are drawn from torch's generator.

    pairs: whether inputs are two sentences, which an encoder with segments then tells apart.
    pooling: one of `pooling.POOLINGS`; `choose_pooling` finds the one that suits the checkpoint.
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
    given = _placed(backbone, module)
    state = module.state_dict()
    mine = f"network.{module.adapter.base}."
    task_pooler = f"{mine}pooler." if pooling == "task_pooler" else None
    expected = {
        name
        for name in state
        if name.startswith(mine) and ".memory." not in name and not (task_pooler and name.startswith(task_pooler))
    }
    missing = [backbone.stored_name(module.original_name(name)) for name in sorted(expected - set(given))]
    if missing:
        raise UsageError(f"the encoder lacks tensors: {listed(missing)}")
    for name, (stored, tensor) in given.items():
        if name not in expected and not name.startswith(module.head_prefixes()):
            backbone.ignored.append(stored)
            continue
        if tensor.shape != state[name].shape:
            got, wanted = list(tensor.shape), list(state[name].shape)
            raise UsageError(f"`{stored}` has shape `{got}`, expected `{wanted}`")
        if not tensor.is_floating_point() or not torch.isfinite(tensor).all():
            raise UsageError(f"`{stored}` holds values that are not finite numbers")
        state[name] = tensor
    module.load_state_dict(state)
    return module


def _placed(backbone: Backbone, module: SpartanClassifier) -> dict[str, tuple[str, Tensor]]:
    """Every tensor with its name in the checkpoint, by its name in `module`; a trained pooler where the head takes it.

    A pooler that was never trained is as good as none, and a pooler of the task is drawn anew.
    """
    adapter, given = module.adapter, {}
    for name, tensor in backbone.tensors.items():
        place = module.place(name)
        if name.startswith(f"{adapter.base}.{adapter.stored_pooler}.") and not adapter.pooler_is_frozen:
            if adapter.pooler is None or not module.has_own_head or not has_trained_pooler(backbone):
                place = f"unused.{name}"
            else:
                place = f"network.{adapter.pooler}.{name.rpartition('.')[2]}"
        elif module.pooling == "task_pooler" and name.startswith(f"{adapter.base}.pooler."):
            place = f"unused.{name}"
        given[place] = backbone.stored_name(name), tensor
    return given


def _is_of_pretrained_head(name: str, adapter: EncoderAdapter) -> bool:
    return adapter.pretrained_head is not None and name.startswith(adapter.pretrained_head)


def has_trained_pooler(backbone: Backbone) -> bool:
    """Whether the checkpoint holds a pooler that was trained.

    A model's class makes one where a masked language model has none, and it is then saved with the encoder. It shows
    by its bias, which starts as zeros: training leaves none where it was. An encoder that is all zeros there was not
    trained at all, and its pooler is as good as the rest. A head that an encoder alone would not have is a trained one.
    """
    if any(_is_of_pretrained_head(name, backbone.adapter) for name in backbone.tensors):
        return True
    pooler = f"{backbone.adapter.base}.{backbone.adapter.stored_pooler}"
    bias = backbone.tensors.get(f"{pooler}.bias")
    if bias is None or f"{pooler}.weight" not in backbone.tensors:
        return False
    if bool(bias.any()):
        return True
    others = (tensor for name, tensor in backbone.tensors.items() if name.endswith("dense.bias") and tensor is not bias)
    return not any(bool(tensor.any()) for tensor in others)
