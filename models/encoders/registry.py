"""All architectures that spartanc knows."""

from __future__ import annotations

from spartanc.errors import UnsupportedModelError
from spartanc.models.encoders.adapter import EncoderAdapter
from spartanc.models.encoders.bert import BERT
from spartanc.models.encoders.distilbert import DISTILBERT
from spartanc.models.encoders.electra import ELECTRA
from spartanc.models.encoders.mpnet import MPNET
from spartanc.models.encoders.roberta import ROBERTA

ADAPTERS = {adapter.model_type: adapter for adapter in (BERT, DISTILBERT, ELECTRA, MPNET, ROBERTA)}


def adapter_for(model_type: object) -> EncoderAdapter:
    """The adapter of a config's `model_type`; UnsupportedModelError for any other."""
    adapter = ADAPTERS.get(model_type) if isinstance(model_type, str) else None
    if adapter is None:
        raise UnsupportedModelError(
            f"architecture `{model_type}` is not supported",
            hint=f"model_type must be one of {', '.join(ADAPTERS)}",
        )
    return adapter
