"""RoBERTa: positions are counted from the padding id on, so that many rows of the position table are never
used.
"""

from __future__ import annotations

from spartanc.models.encoders.adapter import EncoderAdapter


def _classes():
    from transformers import RobertaConfig, RobertaForSequenceClassification, RobertaModel

    return RobertaConfig, RobertaForSequenceClassification, RobertaModel


ROBERTA = EncoderAdapter(
    model_type="roberta",
    load_classes=_classes,
    base="roberta",
    layers="roberta.encoder.layer",
    max_length=lambda config: config.max_position_embeddings - config.pad_token_id - 1,
    token_types=True,
    pooler="classifier.dense",
)
