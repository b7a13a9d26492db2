"""ERNIE (2 and 3): BERT's architecture with a table of pretraining tasks beside the segments (`use_task_id`), of which
a classifier reads the first row alone.
"""

from __future__ import annotations

from spartanc.models.encoders.adapter import EncoderAdapter


def _classes():
    from transformers import ErnieConfig, ErnieForSequenceClassification, ErnieModel

    return ErnieConfig, ErnieForSequenceClassification, ErnieModel


ERNIE = EncoderAdapter(
    model_type="ernie",
    load_classes=_classes,
    base="ernie",
    layers="ernie.encoder.layer",
    max_length=lambda config: config.max_position_embeddings,
    token_types=True,
    pooler="ernie.pooler.dense",
    pooler_is_frozen=True,
)
