"""BERT, and what shares its architecture (MiniLM)."""

from __future__ import annotations

from spartanc.models.encoders.adapter import EncoderAdapter


def _classes():
    from transformers import BertConfig, BertForSequenceClassification, BertModel

    return BertConfig, BertForSequenceClassification, BertModel


BERT = EncoderAdapter(
    model_type="bert",
    load_classes=_classes,
    base="bert",
    layers="bert.encoder.layer",
    max_length=lambda config: config.max_position_embeddings,
    token_types=True,
    pooler="bert.pooler.dense",
    pooler_is_frozen=True,
)
