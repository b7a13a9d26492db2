"""CamemBERT: RoBERTa's architecture, trained on French."""

from __future__ import annotations

import dataclasses

from spartanc.models.encoders.roberta import ROBERTA


def _classes():
    from transformers import CamembertConfig, CamembertForSequenceClassification, CamembertModel

    return CamembertConfig, CamembertForSequenceClassification, CamembertModel


CAMEMBERT = dataclasses.replace(ROBERTA, model_type="camembert", load_classes=_classes)
