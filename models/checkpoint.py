"""Trained models as files: our `model.pt`, and directories in the original implementation's format.

`model.pt` is one `torch.save`d dict of tensors and plain values, loadable with `weights_only=True`:

    format            "spartanc-model"
    version           1
    encoder_config    Hugging Face's config as a dict
    spartan           {parents, cells, top_k, temperature, layer_norm}
    segment_separator id of the token after which a second text begins, or None
    pooling           which vector of a text the classifier reads, see `pooling.py`; "pooler" in older files, without it
    tokenizer         the text of tokenizer.json, or None
    problem           the name of a task type: "classification", "regression" or "multilabel"
    labels            names of the classes, [] for regression
    thresholds        of every label, for multilabel; no such entry for the others
    pairs             whether a row is two texts, None where that is not known; older files have no such entry
    eval_examples     [{text, text_pair, label}], on which `compile` proves its result; a label may be a list
    training          settings and results of the training, plain values
    state             {name: tensor}

A directory of the original implementation holds config.json with `spartan_*` keys and pytorch_model.bin or
model.safetensors. Its version 1 keeps cells as [M, H] in `spartan.weight` and `spartan_value.weight`, version
2 as [E, C, H] in `sparse_spartan` and `sparse_spartan_value`; each also stores parameters that its forward
never reads.

Nothing but weights is ever unpickled.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from spartanc.base.files import file_digest, whole_path
from spartanc.errors import SpartancError, UnsupportedModelError, UsageError
from spartanc.models.classifier import MOST_CLASSES, SpartanClassifier, check_count, has_segments, read_encoder_config
from spartanc.models.encoders.registry import adapter_for, adapter_of
from spartanc.models.foreign import explain_foreign_file, explain_missing
from spartanc.models.memory import SpartanConfig
from spartanc.models.tokenizer_files import read_tokenizer
from spartanc.models.weights import directory_digests, listed, read_config, read_weights, unpickle_weights
from spartanc.runtime_py.data import Example
from spartanc.runtime_py.task_types.catalogue import TASK_TYPES, find_task_type
from spartanc.runtime_py.task_types.classification import CLASSIFICATION
from spartanc.runtime_py.task_types.multilabel import HALF
from spartanc.runtime_py.task_types.regression import REGRESSION
from spartanc.runtime_py.task_types.task_type import TaskType
from spartanc.runtime_py.text import TextEncoder, errors_of_tokenizers

FORMAT = "spartanc-model"
VERSION = 1

# Buffers that older versions of transformers stored with the weights; they are constants.
_STORED_CONSTANTS = re.compile(r"(^|\.)embeddings\.(position_ids|token_type_ids)$")
_KEYS = {
    "format": str,
    "version": int,
    "encoder_config": dict,
    "spartan": dict,
    "segment_separator": int | None,
    "tokenizer": str | None,
    "problem": str,
    "labels": list,
    "thresholds": list,
    "pairs": bool | None,
    "pooling": str,
    "eval_examples": list,
    "training": dict,
    "state": dict,
}
_ABSENT: dict[str, Any] = {
    "pairs": None,
    "pooling": "pooler",
    "thresholds": [],
}  # what is taken for entries that files of earlier versions do not have


@dataclass
class TrainedModel:
    """A trained SPARTAN classifier with all that is needed to compile and to run it.

    module: in eval mode, `forward(input_ids int64[B,L], attention_mask int64[B,L]) -> logits float32[B,C]`.
    labels: names of the classes in the order of the logits; () for regression, whose one logit is the score.
    thresholds: of every label, where the task type decides by thresholds; else ().
    ignored: tensors that stood in the checkpoint and that no computation reads.
    pairs: whether a row is two texts; None where that is not known.
    """

    module: SpartanClassifier
    encoder_config: dict[str, Any]
    spartan: SpartanConfig
    tokenizer: str | None
    labels: tuple[str, ...]
    problem: str
    eval_examples: tuple[Example, ...] = ()
    training: dict[str, Any] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()
    pairs: bool | None = None
    thresholds: tuple[float, ...] = ()

    @property
    def task_type(self) -> TaskType:
        return find_task_type(self.problem).with_thresholds(self.thresholds, self.labels)

    @property
    def max_length(self) -> int:
        """The longest input, in tokens, that the encoder's position table allows."""
        return self.module.max_length()

    @property
    def min_length(self) -> int:
        """The shortest input, in tokens, that a program of the encoder takes."""
        return self.module.min_length()

    @property
    def vocabulary_size(self) -> int:
        return self.module.config.vocab_size

    def text_encoder(self, max_length: int) -> TextEncoder:
        if self.tokenizer is None:
            raise UsageError("the model has no tokenizer", hint="give token ids instead of text")
        return TextEncoder(self.tokenizer, max_length)

    def task_tensors(self) -> dict[str, Tensor]:
        """Memories, classifier and LayerNorms, by their names in `module`."""
        parameters = dict(self.module.named_parameters())
        return {name: parameters[name].detach() for name in self.module.task_names()}

    def backbone_tensors(self) -> dict[str, Tensor]:
        """All other parameters: what tasks over one encoder share."""
        task = set(self.module.task_names())
        return {name: value.detach() for name, value in self.module.named_parameters() if name not in task}


def load_model(path: str | Path) -> TrainedModel:
    """Read a model.pt, or a directory in the original implementation's format.

    Raises UsageError where it is missing, unreadable, malformed or inconsistent, UnsupportedModelError where
    it is a sound model of a kind that spartanc does not know.
    """
    path = Path(path)
    try:
        return _load_directory(path) if path.is_dir() else _load_file(path)
    except SpartancError as error:
        if str(path) in error.message:
            raise
        raise type(error)(f"`{path}`: {error.message}", error.hint) from error


def model_digest(path: str | Path) -> str:
    """SHA-256 of what `load_model` reads at `path`: a file, or a directory's config, weights and tokenizer.

    Raises UsageError where that cannot be read.
    """
    path = Path(path)
    try:
        if not path.is_dir():
            return file_digest(path)
        digests = directory_digests(path, read_tokenizer(path))
    except OSError as error:
        raise UsageError(f"cannot read `{path}`: {error.strerror or error}") from error
    return hashlib.sha256("".join(digests.values()).encode()).hexdigest()


def save_model(model: TrainedModel, path: str | Path) -> None:
    """Write a model.pt, whole or not at all; what stood at `path` stays until the new file was read back.

    Raises UsageError where it cannot be written, or where `load_model` would refuse it.
    """
    path = Path(path)
    content = {
        "format": FORMAT,
        "version": VERSION,
        "encoder_config": model.encoder_config,
        "spartan": asdict(model.spartan),
        "segment_separator": model.module.segment_separator,
        "tokenizer": model.tokenizer,
        "problem": model.problem,
        "labels": list(model.labels),
        **({"thresholds": list(model.thresholds)} if model.thresholds else {}),
        "pairs": model.pairs,
        "pooling": model.module.pooling,
        "eval_examples": [
            {
                "text": example.text,
                "text_pair": example.text_pair,
                "label": list(example.label) if isinstance(example.label, tuple) else example.label,
            }
            for example in model.eval_examples
        ],
        "training": model.training,
        "state": {name: value.detach().cpu().contiguous() for name, value in model.module.state_dict().items()},
    }
    try:
        with whole_path(path) as temporary:
            with temporary.open("wb") as file:
                torch.save(content, file)
            _require_sound(temporary, path)
    except (OSError, RuntimeError) as error:
        raise UsageError(f"cannot write `{path}`: {error}", hint="is there room, and may you write there?") from error


def _require_sound(written: Path, path: Path) -> None:
    """Raise unless what was written can be read again."""
    try:
        load_model(written)
    except SpartancError as error:
        reason = error.message.removeprefix(f"`{written}`: ")
        raise type(error)(f"`{path}` was not written, since no command could read it: {reason}", error.hint) from error


def build_module(
    encoder_config: dict[str, Any],
    spartan: SpartanConfig | None,
    segment_separator: int | None,
    state: dict,
    pooling: str = "pooler",
    stored: Callable[[str], str] = str,
) -> SpartanClassifier:
    """The module with exactly the tensors of `state`; shapes are compared before anything of their size is
    made.

    stored: what the file calls a tensor of the module, for messages.
    """
    _compare_layers(state, encoder_config)
    try:
        with torch.device("meta"):
            expected = SpartanClassifier(encoder_config, spartan, segment_separator, pooling).state_dict()
    except SpartancError:
        raise
    except Exception as error:  # whatever a Hugging Face constructor raises on values that do not fit together
        raise UsageError(f"the encoder's config does not describe a model: {error}") from error
    _compare_tensors(state, {name: tuple(value.shape) for name, value in expected.items()}, stored)
    from transformers.initialization import no_init_weights

    with no_init_weights():
        module = SpartanClassifier(encoder_config, spartan, segment_separator, pooling)
    module.load_state_dict(state)
    return module.eval()


def find_segment_separator(tokenizer: str | None, encoder_config: dict[str, Any]) -> int | None:
    """The id after whose first occurrence the tokenizer starts to count segment 1, if the encoder reads
    segments.
    """
    config = read_encoder_config(encoder_config)
    if tokenizer is None or not has_segments(config, adapter_for(config.model_type)):
        return None
    from tokenizers import Tokenizer

    with errors_of_tokenizers("malformed tokenizer"):
        pair = Tokenizer.from_str(tokenizer)
        pair.no_padding()
        pair.no_truncation()
        encoding = pair.encode("a b", "c d")
    if 1 not in encoding.type_ids:
        return None
    separator = encoding.ids[encoding.type_ids.index(1) - 1]
    seen, derived = False, []
    for token in encoding.ids:
        derived.append(int(seen))
        seen = seen or token == separator
    return separator if derived == list(encoding.type_ids) else None


def _load_file(path: Path) -> TrainedModel:
    if not path.exists():
        explain_missing(path, "model", "a model.pt, or a directory with config.json and weights")
    explain_foreign_file(path, "a model.pt: `spartanc train` writes one")
    try:
        if path.stat().st_size == 0:
            raise UsageError(f"`{path}` is empty")
    except OSError as error:
        raise UsageError(f"cannot read `{path}`: {error.strerror}") from error
    content = unpickle_weights(path)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UsageError(f"`{path}` is not a {FORMAT} file", hint="`spartanc train` writes one")
    if content.get("version") != VERSION:
        raise UsageError(f"`{path}` has format version `{content.get('version')}`, expected `{VERSION}`")
    content = {**_ABSENT, **content}
    for name, kind in _KEYS.items():
        if name not in content:
            raise UsageError(f"`{path}` lacks `{name}`")
        if not isinstance(content[name], kind):
            raise UsageError(f"`{path}`: `{name}` is of type `{type(content[name]).__name__}`")
    unknown = sorted(str(name) for name in content if name not in _KEYS)
    if unknown:
        raise UsageError(f"`{path}` holds unknown entries: {listed(unknown)}")
    fields = content["spartan"]
    if set(fields) != set(SpartanConfig.__dataclass_fields__):
        raise UsageError(f"`{path}`: `spartan` must hold {', '.join(SpartanConfig.__dataclass_fields__)}")
    if not all(isinstance(name, str) for name in content["labels"]):
        raise UsageError(f"`{path}`: a label is not a string")
    if not all(isinstance(threshold, float) for threshold in content["thresholds"]):
        raise UsageError(f"`{path}`: a threshold is not a number")
    examples = []
    for row in content["eval_examples"]:
        if not isinstance(row, dict) or not isinstance(row.get("text"), str):
            raise UsageError(f"`{path}`: an evaluation example has no text")
        label = row.get("label")  # earlier versions kept numbers as such
        if isinstance(label, list):
            label = tuple(str(each) for each in label)
        elif label is not None:
            label = str(label)
        examples.append(Example(row["text"], row.get("text_pair") or None, label))
    return _assemble(
        content["encoder_config"],
        SpartanConfig(**fields),
        content["segment_separator"],
        content["state"],
        content["tokenizer"],
        content["problem"],
        content["labels"],
        content["thresholds"],
        pooling=content["pooling"],
        eval_examples=tuple(examples),
        training=content["training"],
        pairs=content["pairs"],
    )


def _load_directory(path: Path) -> TrainedModel:
    config = read_config(path)
    adapter = adapter_of(config)
    spartan, kind = _original_config(config)
    tensors = read_weights(path)
    names = _original_names(spartan, kind)
    state, ignored = _rename_original(tensors, adapter.layers, spartan, names)
    encoder_config = {name: value for name, value in config.items() if not name.startswith("spartan_")}
    problem, labels = _original_labels(config)
    tokenizer = read_tokenizer(path)
    separator = find_segment_separator(tokenizer, encoder_config)
    return _assemble(
        encoder_config,
        spartan,
        separator,
        state,
        tokenizer,
        problem,
        labels,
        [HALF] * len(labels) if find_task_type(problem).several else [],
        stored=lambda name: _original_name(name, adapter.layers, names),
        ignored=tuple(ignored),
    )


def _assemble(
    encoder_config: dict[str, Any],
    spartan: SpartanConfig,
    separator: int | None,
    state: dict[str, Tensor],
    tokenizer: str | None,
    problem: str,
    labels: list[str],
    thresholds: list[float],
    pooling: str = "pooler",
    stored: Callable[[str], str] = str,
    **rest: Any,
) -> TrainedModel:
    task_type = find_task_type(problem)
    module = build_module(encoder_config, spartan, separator, state, pooling, stored)
    outputs = module.config.num_labels
    if outputs != task_type.outputs(labels):
        raise UsageError(f"{outputs} outputs for {problem} with {len(labels)} labels")
    wrong = task_type.wrong_labels(labels) or task_type.wrong_thresholds(thresholds, labels)
    if wrong is not None:
        raise UsageError(wrong)
    if tokenizer is not None:
        check_vocabulary(TextEncoder(tokenizer, module.max_length()), module)
    return TrainedModel(
        module, encoder_config, spartan, tokenizer, tuple(labels), problem, **rest, thresholds=tuple(thresholds)
    )


def check_vocabulary(encoder: TextEncoder, module: SpartanClassifier) -> None:
    """UsageError where the tokenizer gives ids that the encoder's table has no row for."""
    size, rows = encoder.vocabulary_size(), module.config.vocab_size
    if size > rows:
        raise UsageError(
            f"the tokenizer has {size} tokens, the encoder's table {rows}",
            hint="take the tokenizer that the encoder was trained with, or enlarge the table with transformers'"
            " `resize_token_embeddings` and train the encoder's new rows",
        )


def _compare_layers(state: dict[str, Tensor], encoder_config: dict[str, Any]) -> None:
    """No more layers than the weights have: making each takes its time, before any shape is compared."""
    adapter = adapter_of(encoder_config)
    in_layer = re.compile(rf"network\.{re.escape(adapter.layers)}\.(\d+)\..+")
    matches = (in_layer.fullmatch(name) for name in state if isinstance(name, str))
    found = len({match[1] for match in matches if match})
    for name in {adapter.config_layers, "num_hidden_layers"}:
        check_count(encoder_config, name, found, f"tensors are missing: the weights hold {found} layers")


def _compare_tensors(
    state: dict[str, Tensor], shapes: dict[str, tuple[int, ...]], stored: Callable[[str], str]
) -> None:
    missing = sorted(stored(name) for name in shapes if name not in state)
    if missing:
        raise UsageError(f"tensors are missing: {listed(missing)}")
    extra = sorted(stored(str(name)) for name in state if name not in shapes)
    if extra:
        raise UsageError(f"tensors that the model does not have: {listed(extra)}")
    for placed, shape in shapes.items():
        tensor, name = state[placed], stored(placed)
        if not isinstance(tensor, Tensor) or tensor.layout != torch.strided:
            raise UsageError(f"`{name}` is not a dense tensor")
        if tuple(tensor.shape) != shape:
            raise UsageError(f"`{name}` has shape `{list(tensor.shape)}`, expected `{list(shape)}`")
        if not tensor.is_floating_point():
            raise UsageError(f"`{name}` is of type `{tensor.dtype}`, expected a floating point type")
        if not torch.isfinite(tensor).all():
            raise UsageError(f"`{name}` holds NaN or infinite values")


def _original_config(config: dict[str, Any]) -> tuple[SpartanConfig, str]:
    kind = config.get("spartan_type")
    if kind is None and not any(name.startswith("spartan_") for name in config):
        raise UnsupportedModelError(
            "the directory holds an encoder without SPARTAN memories",
            hint="train memories on it: `spartanc train --backbone DIR …`",
        )
    if kind not in ("spartan_version_1", "spartan_version_2"):
        raise UnsupportedModelError(f"spartan_type `{kind}` is not supported", hint="spartan_version_1 or _2")
    for name in ("spartan_dont_use", "spartan_share"):
        if config.get(name):
            raise UnsupportedModelError(f"`{name}` is set, which is not supported")
    names = {
        "parents": "spartan_no_of_experts",
        "cells": "spartan_size",
        "top_k": "spartan_top_k_experts",
        "temperature": "spartan_temperature",
    }
    values = {}
    for field_name, name in names.items():
        if name not in config:
            raise UsageError(f"config.json lacks `{name}`")
        values[field_name] = config[name]
    return SpartanConfig(**values, layer_norm=config.get("spartan_layer_norm") or "none"), kind


def _original_names(spartan: SpartanConfig, kind: str) -> dict[str, str]:
    """{name in the original's layer: name in our memory}."""
    first = kind == "spartan_version_1"
    names = {
        "spartan_experts.weight": "parents",
        "spartan.weight" if first else "sparse_spartan": "keys",
        "spartan_value.weight" if first else "sparse_spartan_value": "values",
    }
    if spartan.layer_norm == "post":
        names |= {"spartan_layer_norm.weight": "norm.weight", "spartan_layer_norm.bias": "norm.bias"}
    return names


def _original_name(name: str, layers: str, names: dict[str, str]) -> str:
    """What the original's file calls a tensor of the module."""
    match = re.fullmatch(rf"network\.{re.escape(layers)}\.(\d+)\.(layer|memory)\.(.+)", name)
    if match is None:
        return name.removeprefix("network.")
    inner = {ours: theirs for theirs, ours in names.items()}.get(match[3], match[3])
    return f"{layers}.{match[1]}.{match[3] if match[2] == 'layer' else inner}"


def _rename_original(
    tensors: dict[str, Tensor], layers: str, spartan: SpartanConfig, renamed: dict[str, str]
) -> tuple[dict[str, Tensor], list[str]]:
    """Tensors under the module's names, and the names of those that the original's forward does not read."""
    in_layer = re.compile(rf"{re.escape(layers)}\.(\d+)\.(.+)")
    state, ignored = {}, []
    for name, tensor in tensors.items():
        match = in_layer.fullmatch(name)
        if _STORED_CONSTANTS.search(name):
            ignored.append(name)
        elif match is None:
            state[f"network.{name}"] = tensor
        elif match[2] in renamed:
            cells = match[2].startswith("sparse_")
            if cells and tensor.dim() != 3:
                raise UsageError(f"`{name}` has shape `{list(tensor.shape)}`, expected parents, cells, hidden size")
            if cells and tensor.shape[0] != spartan.parents:
                raise UsageError(f"`{name}` has shape `{list(tensor.shape)}`, expected {spartan.parents} parents")
            state[f"network.{layers}.{match[1]}.memory.{renamed[match[2]]}"] = tensor.flatten(0, 1) if cells else tensor
        elif match[2].startswith(("spartan", "sparse_spartan")):
            ignored.append(name)
        else:
            state[f"network.{layers}.{match[1]}.layer.{match[2]}"] = tensor
    return state, ignored


def _original_labels(config: dict[str, Any]) -> tuple[str, list[str]]:
    problem = config.get("problem_type")
    names = config.get("id2label")
    if names is None:
        check_count(config, "num_labels", MOST_CLASSES, f"at most {MOST_CLASSES} classes are supported")
        names = {str(index): f"LABEL_{index}" for index in range(config.get("num_labels", 2))}
    if not isinstance(names, dict) or sorted(names) != sorted(str(index) for index in range(len(names))):
        raise UsageError("config.json: `id2label` must name the classes 0, 1, …")
    if problem is None:
        task_type: TaskType = REGRESSION if len(names) == 1 else CLASSIFICATION
    else:
        known = {each.hub_name: each for each in TASK_TYPES.values()}
        if problem not in known:
            raise UnsupportedModelError(f"problem_type `{problem}` is not supported")
        task_type = known[problem]
    labels = [str(names[str(index)]) for index in range(len(names))] if task_type.has_classes else []
    return task_type.name, labels
