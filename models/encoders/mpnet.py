"""MPNet: no segment ids, relative positions beside the absolute ones, which count from its padding id
1 on.
"""

from __future__ import annotations

from spartanc.models.encoders.adapter import EncoderAdapter


def _classes():
    from transformers import MPNetConfig, MPNetForSequenceClassification, MPNetModel

    return MPNetConfig, MPNetForSequenceClassification, MPNetModel


MPNET = EncoderAdapter(
    model_type="mpnet",
    load_classes=_classes,
    base="mpnet",
    layers="mpnet.encoder.layer",
    max_length=lambda config: config.max_position_embeddings - 2,
    token_types=False,
    attention_output="attention.attn.o",
    query="attention.attn.q",
    value="attention.attn.v",
    pooler="classifier.dense",
)
