"""ALBERT: one layer applied N times, after embeddings narrower than it. Every application has a memory of its own."""

from __future__ import annotations

import copy
from typing import Any

from spartanc.errors import UnsupportedModelError
from spartanc.models.encoders.adapter import EncoderAdapter


def _classes():
    from transformers import AlbertConfig, AlbertForSequenceClassification, AlbertModel

    return AlbertConfig, AlbertForSequenceClassification, AlbertModel


def _unroll(network: Any) -> None:
    """Let Hugging Face's encoder walk a list with one entry per application, where it would walk one of groups."""
    config = network.config
    for name in ("num_hidden_groups", "inner_group_num"):
        if getattr(config, name) != 1:
            raise UnsupportedModelError(
                f"ALBERT with `{name}` `{getattr(config, name)}` is not supported",
                hint="the published ones apply one layer, and have 1 here",
            )
    encoder = network.albert.encoder
    encoder.config = copy.deepcopy(config)  # the encoder's alone: what the model's says is stored with it
    encoder.config.num_hidden_groups = config.num_hidden_layers


ALBERT = EncoderAdapter(
    model_type="albert",
    load_classes=_classes,
    base="albert",
    layers="albert.encoder.albert_layer_groups",
    max_length=lambda config: config.max_position_embeddings,
    token_types=True,
    attention_output="albert_layers.0.attention.dense",
    layer_output="albert_layers.0.ffn_output",
    query="albert_layers.0.attention.query",
    value="albert_layers.0.attention.value",
    feed_forward="albert_layers.0.ffn",
    pooler="albert.pooler",
    pooler_is_frozen=True,
    stored_pooler="pooler",
    unroll=_unroll,
)
