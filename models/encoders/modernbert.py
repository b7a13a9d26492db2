"""ModernBERT: LayerNorms before the halves of a layer, rotary positions, windows in two layers of three, gated units.

A memory reads and writes the stream of residuals after its layer; the LayerNorm behind the last layer comes after it.
"""

from __future__ import annotations

from spartanc.models.encoders.adapter import EncoderAdapter
from spartanc.models.encoders.rotary import check_rotary


def _classes():
    from transformers import ModernBertConfig, ModernBertForSequenceClassification, ModernBertModel

    return ModernBertConfig, ModernBertForSequenceClassification, ModernBertModel


MODERNBERT = EncoderAdapter(
    model_type="modernbert",
    load_classes=_classes,
    base="model",
    layers="model.layers",
    max_length=lambda config: config.max_position_embeddings,
    token_types=False,
    attention_output="attn.Wo",
    layer_output="mlp.Wo",
    query="attn.Wqkv",
    value="attn.Wqkv",
    feed_forward="mlp.Wi",
    feed_forward_is_gated=True,
    head=("head.", "classifier."),
    pretrained_head="head.",
    norm_eps="norm_eps",
    norm_comes_first=True,
    check=check_rotary,
)
