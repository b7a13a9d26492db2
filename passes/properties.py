"""What may be true of a program: the names that passes require, provide and break.

A name is a member of an enumeration, so that a misspelt one fails when the pass is imported. A property that passes
need but none provides fails `tests/passes/test_properties.py`.
"""

from __future__ import annotations

from enum import Enum


class PassProperty(Enum):
    """Base of every set of names; it has no members, so tests may declare their own."""

    def __str__(self) -> str:
        return self.value


class Property(PassProperty):
    """Of programs on their way through spartanc's pipelines."""

    MEMORIES_FUSED = "memories_fused"
    NO_NOOPS = "no_noops"
    CONSTANTS_FOLDED = "constants_folded"
    RELATIVE_ATTENTION_FUSED = "relative_attention_fused"
    SMALL_POWERS_EXPANDED = "small_powers_expanded"
    ATTENTION_IN_THREE_DIMENSIONS = "attention_in_three_dimensions"
    ATTENTION_SCALE_FOLDED = "attention_scale_folded"
    MASK_OF_COLUMNS = "mask_of_columns"
    FIXED_EMBEDDINGS_FOLDED = "fixed_embeddings_folded"
    ONLY_POOLED_TOKENS = "only_pooled_tokens"
    ATTENTION_FUSED = "attention_fused"
    LAYER_NORMS_FUSED = "layer_norms_fused"
    STOCK_OPERATORS = "stock_operators"
    MEMORIES_PACKED = "memories_packed"
    EMBEDDINGS_QUANTIZED = "embeddings_quantized"
    INT8_HEAD = "int8_head"
    INT8_LINEARS = "int8_linears"
    INT4_LINEARS = "int4_linears"
