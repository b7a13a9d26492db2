"""What spartanc must know of one encoder architecture to put memories into Hugging Face's sequence
classifier.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class EncoderAdapter:
    """One architecture.

    model_type: the `model_type` of its config.json.
    load_classes: (config class, sequence classifier class, bare encoder class); imported on use, transformers
    is slow.
    base: the classifier's attribute that holds the encoder, also the prefix of its tensors' names.
    layers: where the list of layers stands, from the classifier.
    config_layers: the config's key for the number of layers.
    max_length: the longest input, in tokens, that a config's position table allows.
    min_length: the shortest input that torch.export lets a program take; shorter ones are padded up to it.
    token_types: whether the encoder embeds segment (token type) ids.
    embeds_neighbours: whether a token's embedding is made of its neighbours' rows too, before any mask is read, so that
    rows of padding have to be zeros.
    attention_output, layer_output: a layer's two linears that end its halves, before the residual's LayerNorm.
    query, value: the attention's projections.
    feed_forward: a layer's linear whose outputs, after the activation, `layer_output` reads.
    config_feed_forward: the config's key for how many these are.
    feed_forward_is_gated: whether they are multiplied by another linear's outputs, or by those of its other half.
    feed_forwards_are_stacked: whether a layer has several, one behind the other.
    head: prefixes of the tensors that belong to the classifier, and so to the task.
    pooler: the dense layer over the first position which a checkpoint's pooler fits, by its name in the classifier;
    None where the architecture has no pooler. pooler_is_frozen: whether that stands in the encoder, not in the head.
    stored_pooler: the dense layer of the bare encoder's pooler, by its name there.
    has_pooler: whether an encoder of a config.json's content has that layer; one without hands on the first position.
    pretrained_head: prefix of the head's tensors that a masked language model's checkpoint holds too, and Hugging Face
    loads into a classifier; None where there are none.
    norm_eps: the config's key for the epsilon of LayerNorms.
    norm_comes_first: whether LayerNorms stand before a layer's halves, so that layers hand on a sum that none has seen.
    check: refuses a config whose values are not supported.
    unpack: (name, tensor) of a checkpoint -> all the tensors that it stands for, by the names that the model has.
    frozen_norms: LayerNorms, by their names in the classifier, that belong to the backbone; every other is the task's.
    unroll: of an architecture that applies one layer N times; changes a classifier so that it walks a list of N
    entries, which `SpartanClassifier` then fills. UnsupportedModelError for other ways of sharing.
    """

    model_type: str
    load_classes: Callable[[], tuple[Any, Any, Any]]
    base: str
    layers: str
    max_length: Callable[[Any], int]
    token_types: bool
    min_length: Callable[[Any], int] = lambda config: 1
    embeds_neighbours: bool = False
    attention_output: str = "attention.output.dense"
    layer_output: str = "output.dense"
    query: str = "attention.self.query"
    value: str = "attention.self.value"
    feed_forward: str = "intermediate.dense"
    config_feed_forward: str = "intermediate_size"
    feed_forward_is_gated: bool = False
    feed_forwards_are_stacked: bool = False
    head: tuple[str, ...] = ("classifier.",)
    config_layers: str = "num_hidden_layers"
    pooler: str | None = None
    pooler_is_frozen: bool = False
    stored_pooler: str = "pooler.dense"
    has_pooler: Callable[[dict[str, Any]], bool] = lambda config: True
    pretrained_head: str | None = None
    norm_eps: str = "layer_norm_eps"
    norm_comes_first: bool = False
    check: Callable[[Any], None] | None = None
    unpack: Callable[[str, Any], list[tuple[str, Any]]] | None = None
    frozen_norms: tuple[str, ...] = ()
    unroll: Callable[[Any], None] | None = None
