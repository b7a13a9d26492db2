"""A Hugging Face sequence classifier with a memory after every layer of its encoder.

Legend: B batch, L tokens, H hidden size, E parents, C classes.

The classifier takes token ids and an attention mask only, so the segment (token type) ids of two-sentence
inputs are derived from the ids: 1 after the first separator, 0 up to it, which is what BERT's and ELECTRA's
tokenizers give for a pair and for a single text alike. It happens inside `forward`, in training as in the
compiled program.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from spartanc.errors import UnsupportedModelError, UsageError
from spartanc.models.encoders.adapter import EncoderAdapter
from spartanc.models.encoders.registry import adapter_of
from spartanc.models.memory import Memory, SpartanConfig
from spartanc.models.pooling import check_pooling, pool, put_linear_head

MOST_CLASSES = 1 << 16
# What a config.json may say of how a model is run or stored; none of it is part of what the model is.
_RUN_SETTINGS = (
    "torch_dtype",
    "dtype",
    "return_dict",
    "output_attentions",
    "output_hidden_states",
    "attn_implementation",
    "_attn_implementation",
    "_attn_implementation_internal",
    "transformers_version",
    "_name_or_path",
    "quantization_config",
    "auto_map",
)


@dataclass(frozen=True)
class Trace:
    """What one forward pass computed on its way.

    hidden_states: the embeddings' output, then every layer's output after its memory, each [B, L, H].
    parent_weights: every memory's parent weights, each [B, L, E].
    """

    logits: Tensor
    hidden_states: tuple[Tensor, ...]
    parent_weights: tuple[Tensor, ...]


class LayerWithMemory(nn.Module):
    """Stands in the place of an encoder's layer, takes and gives what that takes and gives.

    owns: whether the layer's parameters are this module's; False for all but the first place of a layer that is applied
    several times, so that they are saved, moved and trained once.

    What else an encoder asks of a layer (ModernBERT: `attention_type`) is answered by the layer inside.
    """

    layer: nn.Module

    def __init__(self, layer: nn.Module, memory: Memory, owns: bool = True):
        super().__init__()
        if owns:
            self.layer = layer
        else:
            object.__setattr__(self, "layer", layer)  # torch would register it
        self.memory = memory

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            layer = self.__dict__.get("layer") or self.__dict__.get("_modules", {}).get("layer")
            if layer is None:  # while torch or `copy` still makes this module
                raise
            return getattr(layer, name)

    def forward(self, *args, **kwargs):
        out = self.layer(*args, **kwargs)
        if isinstance(out, tuple):
            return (self.memory(out[0]), *out[1:])
        return self.memory(out)


class SpartanClassifier(nn.Module):
    """`forward(input_ids int64[B,L], attention_mask int64[B,L]) -> logits float32[B,C]`; pure, and
    exportable.

    encoder_config: a Hugging Face config as a dict, `model_type` and `num_labels` in it.
    segment_separator: the id after whose first occurrence a second text begins; None where the encoder has no
    segments, or its tokenizer does not mark them.
    pooling: which vector of a text the classifier reads, one of `pooling.POOLINGS`.
    """

    def __init__(
        self,
        encoder_config: dict[str, Any],
        spartan: SpartanConfig | None,
        segment_separator: int | None = None,
        pooling: str = "pooler",
    ):
        super().__init__()
        self.adapter = adapter_of(encoder_config)
        self.config = read_encoder_config(encoder_config)
        self.spartan = spartan
        if segment_separator is not None and not has_segments(self.config, self.adapter):
            raise UsageError(f"segment separator `{segment_separator}`, but the encoder has no segments")
        self.segment_separator = segment_separator
        check_pooling(pooling, self.adapter)
        self.pooling = pooling
        _, classifier_class, _ = self.adapter.load_classes()
        self.network = classifier_class(self.config)
        if not self.has_own_head:
            put_linear_head(self.network, self.adapter, self.config.hidden_size, self.config.num_labels)
        if spartan is not None:
            self._put_memories(spartan)

    def _put_memories(self, spartan: SpartanConfig) -> None:
        if spartan.layer_norm == "post" and self.adapter.norm_comes_first:
            raise UnsupportedModelError(
                f"a LayerNorm after each memory does not go with `{self.adapter.model_type}`: its layers add to one sum"
                " that nothing may normalise on the way",
                hint="leave out `--layer-norm post`",
            )
        eps = getattr(self.config, self.adapter.norm_eps, 1e-12)
        layers = self.layers()
        repeated = self.adapter.unroll is not None
        if self.adapter.unroll is not None:
            self.adapter.unroll(self.network)
            layers.extend([layers[0]] * (self.config.num_hidden_layers - 1))
        for index, layer in enumerate(layers):
            memory = Memory(spartan, self.config.hidden_size, eps)
            layers[index] = LayerWithMemory(layer, memory, owns=index == 0 or not repeated)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        inputs = {"attention_mask": attention_mask}
        if self.adapter.embeds_neighbours:
            inputs["inputs_embeds"] = self._unpadded_rows(input_ids, attention_mask)
        else:
            inputs["input_ids"] = input_ids
        if self.adapter.token_types:
            inputs["token_type_ids"] = self._token_types(input_ids)
        if self.has_own_head:
            return self.network(**inputs).logits
        states_BLH = getattr(self.network, self.adapter.base)(**inputs).last_hidden_state
        return self.network.classifier(pool(states_BLH, attention_mask, self.pooling))

    @property
    def has_own_head(self) -> bool:
        """Whether the head is Hugging Face's own, which pools by itself."""
        return self.pooling in ("pooler", "task_pooler")

    def _unpadded_rows(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Rows of the table of words [B, L, _], zeros where the mask is 0: as beyond the ends of a text."""
        rows_BLW = self.network.get_input_embeddings()(input_ids)
        return rows_BLW * attention_mask.unsqueeze(-1).to(rows_BLW.dtype)

    def _token_types(self, input_ids: Tensor) -> Tensor:
        if self.segment_separator is None:
            return torch.zeros_like(input_ids)
        separators = (input_ids == self.segment_separator).long()
        return (separators.cumsum(1) > separators).long()

    def layers(self) -> nn.ModuleList:
        return self.network.get_submodule(self.adapter.layers)

    def memories(self) -> list[Memory]:
        return [layer.memory for layer in self.layers() if isinstance(layer, LayerWithMemory)]

    def max_length(self) -> int:
        """The longest input, in tokens, that the position table allows."""
        return self.adapter.max_length(self.config)

    def min_length(self) -> int:
        """The shortest input, in tokens, that a program can be captured for; eager PyTorch takes shorter ones too."""
        return self.adapter.min_length(self.config)

    def task_names(self) -> list[str]:
        """Names of the parameters that a task owns: memories, classifier and LayerNorms, but those of constants."""
        frozen = {f"network.{name}" for name in self.adapter.frozen_norms}
        norms = {
            f"{name}.{parameter}"
            for name, module in self.named_modules()
            if isinstance(module, nn.LayerNorm) and name not in frozen
            for parameter, _ in module.named_parameters()
        }
        head = self.head_prefixes()
        return [
            name for name, _ in self.named_parameters() if name in norms or name.startswith(head) or ".memory." in name
        ]

    def last_linear(self) -> nn.Linear:
        """The head's linear that gives the logits."""
        head = self.head_prefixes()
        linears = [
            module
            for name, module in self.named_modules()
            if isinstance(module, nn.Linear) and f"{name}.".startswith(head)
        ]
        return [linear for linear in linears if linear.out_features == self.config.num_labels][-1]

    def head_prefixes(self) -> tuple[str, ...]:
        """What the names of the classifier's own parameters begin with; a pooler of the task is among them."""
        head = self.adapter.head if self.has_own_head else ("classifier.",)
        if self.pooling == "task_pooler":
            head = (*head, f"{self.adapter.base}.pooler.")
        return tuple(f"network.{prefix}" for prefix in head)

    def place(self, name: str) -> str:
        """Where a tensor of Hugging Face's sequence classifier stands in this module."""
        prefix = f"{self.adapter.layers}."
        if self.spartan is None or not name.startswith(prefix):
            return f"network.{name}"
        index, _, rest = name.removeprefix(prefix).partition(".")
        return f"network.{prefix}{index}.layer.{rest}"

    def original_name(self, name: str) -> str:
        """What Hugging Face's sequence classifier calls a tensor of this module: the way back from `place`."""
        name = name.removeprefix("network.")
        prefix = f"{self.adapter.layers}."
        if self.spartan is None or not name.startswith(prefix):
            return name
        index, _, rest = name.removeprefix(prefix).partition(".")
        return f"{prefix}{index}.{rest.removeprefix('layer.')}"

    def trace(self, input_ids: Tensor, attention_mask: Tensor) -> Trace:
        """One forward pass without gradients, with what every layer and memory computed."""
        hidden: list[Tensor] = []
        weights: list[Tensor] = []

        def before_first_layer(module, args, kwargs):
            hidden.append(args[0] if args else kwargs["hidden_states"])

        def after_layer(module, args, kwargs, out):
            hidden.append(out[0] if isinstance(out, tuple) else out)

        def on_selection(module, args, out):
            weights.append(out)

        layers = self.layers()
        handles = [layers[0].register_forward_pre_hook(before_first_layer, with_kwargs=True)]
        handles += [layer.register_forward_hook(after_layer, with_kwargs=True) for layer in layers]
        handles += [memory.selected.register_forward_hook(on_selection) for memory in self.memories()]
        try:
            with torch.no_grad():
                logits = self(input_ids, attention_mask)
        finally:
            for handle in handles:
                handle.remove()
        return Trace(logits, tuple(hidden), tuple(weights))


def read_encoder_config(encoder_config: dict[str, Any]):
    """Hugging Face's config object; UsageError where values are wrong, UnsupportedModelError for a
    decoder.
    """
    adapter = adapter_of(encoder_config)
    config_class, _, _ = adapter.load_classes()
    clean = {name: value for name, value in encoder_config.items() if name not in _RUN_SETTINGS}
    if clean.get("is_decoder") or clean.get("add_cross_attention"):
        raise UnsupportedModelError("the model is a decoder", hint="spartanc compiles encoders")
    if clean.get("position_embedding_type", "absolute") != "absolute":
        raise UnsupportedModelError(f"position embeddings `{clean['position_embedding_type']}` are not supported")
    clean["num_hidden_layers"] = clean.get("num_hidden_layers", clean.get("n_layers"))
    if clean["num_hidden_layers"] is None:
        del clean["num_hidden_layers"]
    # transformers names every class while it makes a config
    check_count(clean, "num_labels", MOST_CLASSES, f"at most {MOST_CLASSES} classes are supported")
    try:
        config = config_class(**clean)
    except Exception as error:  # its validators raise their own classes, without a common base
        raise UsageError(f"the encoder's config is malformed: {error}") from error
    if adapter.check is not None:
        adapter.check(config)
    config._attn_implementation = "eager"  # exports without the masks' extra operators that sdpa brings
    return config


def check_count(config: dict[str, Any], name: str, most: int, why: str) -> None:
    """UsageError where `config` gives a number for `name` that is above `most`."""
    value = config.get(name)
    if isinstance(value, int | float) and value > most:
        raise UsageError(f"the encoder's config has `{name}` `{value}`, and {why}")


def has_segments(config, adapter: EncoderAdapter) -> bool:
    return adapter.token_types and getattr(config, "type_vocab_size", 0) >= 2
