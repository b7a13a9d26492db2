"""MobileBERT: BERT's layer between bottlenecks, with several feed-forwards.

Its embeddings mix every token's row with its neighbours', before any mask is read: padding has to be zeros there.

The published checkpoint has no LayerNorm (`no_norm`): factor and addend in the place of each are the backbone's, as the
linear before them is, and a task consists of memories and head.
"""

from __future__ import annotations

from typing import Any

from spartanc.errors import UnsupportedModelError
from spartanc.models.encoders.adapter import EncoderAdapter

# A text of 2 has one neighbour, and torch.export takes a dimension of 1 for a constant.
_SHORTEST_WITH_NEIGHBOURS = 3


def _classes():
    from transformers import MobileBertConfig, MobileBertForSequenceClassification, MobileBertModel

    return MobileBertConfig, MobileBertForSequenceClassification, MobileBertModel


def _check(config: Any) -> None:
    if not config.use_bottleneck:
        raise UnsupportedModelError(
            "MobileBERT with `use_bottleneck` `False` is not supported",
            hint="the published ones have bottlenecks",
        )


MOBILEBERT = EncoderAdapter(
    model_type="mobilebert",
    load_classes=_classes,
    base="mobilebert",
    layers="mobilebert.encoder.layer",
    max_length=lambda config: config.max_position_embeddings,
    min_length=lambda config: _SHORTEST_WITH_NEIGHBOURS if config.trigram_input else 1,
    token_types=True,
    embeds_neighbours=True,
    layer_output="output.bottleneck.dense",
    feed_forwards_are_stacked=True,
    pooler="mobilebert.pooler.dense",
    pooler_is_frozen=True,
    has_pooler=lambda config: config.get("classifier_activation", True),  # not in the published checkpoint
    check=_check,
)
