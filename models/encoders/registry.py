"""All architectures that spartanc knows."""

from __future__ import annotations

from typing import Any

from spartanc.errors import UnsupportedModelError
from spartanc.models.encoders.adapter import EncoderAdapter
from spartanc.models.encoders.albert import ALBERT
from spartanc.models.encoders.bert import BERT
from spartanc.models.encoders.camembert import CAMEMBERT
from spartanc.models.encoders.deberta_v2 import DEBERTA_V2
from spartanc.models.encoders.distilbert import DISTILBERT
from spartanc.models.encoders.electra import ELECTRA
from spartanc.models.encoders.ernie import ERNIE
from spartanc.models.encoders.mobilebert import MOBILEBERT
from spartanc.models.encoders.modernbert import MODERNBERT
from spartanc.models.encoders.mpnet import MPNET
from spartanc.models.encoders.nomic_bert import NOMIC_BERT
from spartanc.models.encoders.roberta import ROBERTA
from spartanc.models.encoders.xlm_roberta import XLM_ROBERTA

ADAPTERS = {
    adapter.model_type: adapter
    for adapter in (
        ALBERT,
        BERT,
        CAMEMBERT,
        DEBERTA_V2,
        DISTILBERT,
        ELECTRA,
        ERNIE,
        MOBILEBERT,
        MODERNBERT,
        MPNET,
        NOMIC_BERT,
        ROBERTA,
        XLM_ROBERTA,
    )
}


def adapter_for(model_type: object) -> EncoderAdapter:
    """The adapter of a config's `model_type`; UnsupportedModelError for any other."""
    adapter = ADAPTERS.get(model_type) if isinstance(model_type, str) else None
    if adapter is None:
        raise UnsupportedModelError(
            f"architecture `{model_type}` is not supported",
            hint=f"model_type must be one of {', '.join(ADAPTERS)}",
        )
    return adapter


def adapter_of(config: dict[str, Any]) -> EncoderAdapter:
    """The adapter of a config.json's content; UnsupportedModelError where there is none, or no `model_type`."""
    model_type = config.get("model_type")
    if model_type is not None:
        return adapter_for(model_type)
    guess = _guess(config)
    line = f'`"model_type": "{guess or "…"}",`'
    known = "" if guess else f", one of {', '.join(ADAPTERS)}"
    raise UnsupportedModelError(
        "the encoder's config has no `model_type`", hint=f"add the line {line} to config.json{known}"
    )


def _guess(config: dict[str, Any]) -> str | None:
    """The `model_type` that other values of a config speak for."""
    architectures = config.get("architectures")
    named = str(architectures[0]).lower() if isinstance(architectures, list) and architectures else ""
    for model_type in ADAPTERS:
        if named.startswith(model_type.replace("-", "")):
            return model_type
    if named:
        return None
    telling = {
        "intra_bottleneck_size": "mobilebert",
        "dim": "distilbert",
        "embedding_size": "electra",
        "relative_attention_num_buckets": "mpnet",
    }
    return next((model_type for name, model_type in telling.items() if name in config), None)
