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
    token_types: whether the encoder embeds segment (token type) ids.
    attention_output, layer_output: a layer's two linears that end its halves, before the residual's LayerNorm.
    query, value: the attention's projections.
    feed_forward: a layer's linear whose outputs, after the activation, `layer_output` reads.
    config_feed_forward: the config's key for how many these are.
    head: prefixes of the tensors that belong to the classifier, and so to the task.
    pooler: the dense layer over the first position which a checkpoint's pooler fits, by its name in the classifier;
    None where the architecture has no pooler. pooler_is_frozen: whether that stands in the encoder, not in the head.
    stored_pooler: the dense layer of the bare encoder's pooler, by its name there.
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
    attention_output: str = "attention.output.dense"
    layer_output: str = "output.dense"
    query: str = "attention.self.query"
    value: str = "attention.self.value"
    feed_forward: str = "intermediate.dense"
    config_feed_forward: str = "intermediate_size"
    head: tuple[str, ...] = ("classifier.",)
    config_layers: str = "num_hidden_layers"
    pooler: str | None = None
    pooler_is_frozen: bool = False
    stored_pooler: str = "pooler.dense"
    frozen_norms: tuple[str, ...] = ()
    unroll: Callable[[Any], None] | None = None
