"""ELECTRA's discriminator."""

from __future__ import annotations

from spartanc.models.encoders.adapter import EncoderAdapter


def _classes():
    from transformers import ElectraConfig, ElectraForSequenceClassification, ElectraModel

    return ElectraConfig, ElectraForSequenceClassification, ElectraModel


ELECTRA = EncoderAdapter(
    model_type="electra",
    load_classes=_classes,
    base="electra",
    layers="electra.encoder.layer",
    max_length=lambda config: config.max_position_embeddings,
    token_types=True,
)
