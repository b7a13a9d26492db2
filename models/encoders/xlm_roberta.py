"""XLM-RoBERTa: RoBERTa's architecture with a vocabulary of a hundred languages."""

from __future__ import annotations

import dataclasses

from spartanc.models.encoders.roberta import ROBERTA


def _classes():
    from transformers import XLMRobertaConfig, XLMRobertaForSequenceClassification, XLMRobertaModel

    return XLMRobertaConfig, XLMRobertaForSequenceClassification, XLMRobertaModel


XLM_ROBERTA = dataclasses.replace(ROBERTA, model_type="xlm-roberta", load_classes=_classes)
