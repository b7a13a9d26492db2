"""DistilBERT: no segment ids; its classifier is two linears, `pre_classifier` and `classifier`."""

from __future__ import annotations

from spartanc.models.encoders.adapter import EncoderAdapter


def _classes():
    from transformers import DistilBertConfig, DistilBertForSequenceClassification, DistilBertModel

    return DistilBertConfig, DistilBertForSequenceClassification, DistilBertModel


DISTILBERT = EncoderAdapter(
    model_type="distilbert",
    load_classes=_classes,
    base="distilbert",
    layers="distilbert.transformer.layer",
    max_length=lambda config: config.max_position_embeddings,
    token_types=False,
    attention_output="attention.out_lin",
    layer_output="ffn.lin2",
    query="attention.q_lin",
    value="attention.v_lin",
    feed_forward="ffn.lin1",
    config_feed_forward="hidden_dim",
    head=("pre_classifier.", "classifier."),
    config_layers="n_layers",
)
