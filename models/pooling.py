"""Which vector of a text the classifier reads, and whose layers make it.

    pooler       the sequence classifier as Hugging Face writes it: a dense layer over the first position, then a linear
    task_pooler  the same for BERT, whose dense layer stands in the encoder and is frozen otherwise; here it is new,
                 and trained with the task
    cls          the first position's state, then a linear
    mean         the mean of the states at real tokens, then a linear

Legend: B batch, L tokens, H hidden size.
"""

from __future__ import annotations

from torch import Tensor, nn

from spartanc.errors import UsageError
from spartanc.models.encoders.adapter import EncoderAdapter

POOLINGS = ("pooler", "task_pooler", "cls", "mean")


def check_pooling(pooling: str, adapter: EncoderAdapter) -> None:
    """UsageError for a word that is no pooling, or none of this architecture."""
    known = [each for each in POOLINGS if each != "task_pooler" or adapter.pooler_is_frozen]
    if pooling not in known:
        raise UsageError(f"pooling `{pooling}` is not one of {', '.join(known)}")


def put_linear_head(network: nn.Module, adapter: EncoderAdapter, hidden_size: int, outputs: int) -> None:
    """One linear in the place of `network`'s own head, in place; a pooler inside the encoder goes too."""
    for prefix in adapter.head:
        delattr(network, prefix.rstrip("."))
    if adapter.pooler_is_frozen:
        network.get_submodule(adapter.base).pooler = None
    network.classifier = nn.Linear(hidden_size, outputs)
    nn.init.normal_(network.classifier.weight, std=0.02)
    nn.init.zeros_(network.classifier.bias)


def pool(states_BLH: Tensor, attention_mask_BL: Tensor, pooling: str) -> Tensor:
    """The pooled vector [B, H]; what stands at masked positions takes no part in a mean."""
    if pooling == "cls":
        return states_BLH[:, 0]
    weights_BL1 = attention_mask_BL.unsqueeze(-1).to(states_BLH.dtype)
    return (states_BLH * weights_BL1).sum(1) / weights_BL1.sum(1).clamp(min=1)
