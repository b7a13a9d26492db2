"""DeBERTa-v2 and v3: attention by content and by relative position."""

from __future__ import annotations

from spartanc.models.encoders.adapter import EncoderAdapter


def _classes():
    from transformers import DebertaV2Config, DebertaV2ForSequenceClassification, DebertaV2Model

    return DebertaV2Config, DebertaV2ForSequenceClassification, DebertaV2Model


DEBERTA_V2 = EncoderAdapter(
    model_type="deberta-v2",
    load_classes=_classes,
    base="deberta",
    layers="deberta.encoder.layer",
    max_length=lambda config: config.max_position_embeddings,
    token_types=True,
    query="attention.self.query_proj",
    value="attention.self.value_proj",
    head=("pooler.", "classifier."),
    pooler="pooler.dense",
    # It normalises the table of relative positions, not states: with it frozen, all that is made of the table alone is
    # constant, and a fleet's tasks share it.
    frozen_norms=("deberta.encoder.LayerNorm",),
)
