"""Nomic-BERT: BERT's layer with rotary positions and gated units, without biases.

Checkpoints call and pack its tensors otherwise than transformers' model does, which translates as it loads and saves.
"""

from __future__ import annotations

from typing import Any

from spartanc.models.encoders.adapter import EncoderAdapter
from spartanc.models.encoders.rotary import check_rotary

_NAMES = {
    "encoder.layers.": "layers.",
    "emb_ln.": "embeddings.LayerNorm.",
    "attn.out_proj.": "self_attn.o_proj.",
    "mlp.fc11.": "mlp.up_proj.",
    "mlp.fc12.": "mlp.gate_proj.",
    "mlp.fc2.": "mlp.down_proj.",
    "norm1.": "post_attention_layernorm.",
    "norm2.": "post_mlp_layernorm.",
}


def _classes():
    from transformers import NomicBertConfig, NomicBertForSequenceClassification, NomicBertModel

    return NomicBertConfig, NomicBertForSequenceClassification, NomicBertModel


def _unpack(name: str, tensor: Any) -> list[tuple[str, Any]]:
    for theirs, ours in _NAMES.items():
        name = name.replace(theirs, ours)
    if "attn.Wqkv." not in name:
        return [(name, tensor)]
    names = (name.replace("attn.Wqkv", f"self_attn.{each}_proj") for each in "qkv")
    return list(zip(names, tensor.chunk(3), strict=True))


NOMIC_BERT = EncoderAdapter(
    model_type="nomic_bert",
    load_classes=_classes,
    base="nomic_bert",
    layers="nomic_bert.layers",
    max_length=lambda config: config.max_position_embeddings,
    token_types=True,
    attention_output="self_attn.o_proj",
    layer_output="mlp.down_proj",
    query="self_attn.q_proj",
    value="self_attn.v_proj",
    feed_forward="mlp.gate_proj",
    feed_forward_is_gated=True,
    pooler="nomic_bert.pooler.dense",
    pooler_is_frozen=True,
    check=check_rotary,
    unpack=_unpack,
)
