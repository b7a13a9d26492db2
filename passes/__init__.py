"""Graph passes, one a file. The order, with its reasons, stands here and nowhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING

# Not inside a function: importing the module of this name later would put the module in the function's place.
from spartanc.passes.fuse_memories import fuse_memories

if TYPE_CHECKING:
    from spartanc.passes.protocol import GraphPass

__all__ = ["exact_passes", "fuse_memories", "quantizing_passes"]


def exact_passes() -> list[GraphPass]:
    """From the captured program to the fp32 one that is lowered or quantised; each is exact to rounding."""
    from spartanc.passes.fuse_memories import FuseMemories
    from spartanc.passes.pack_memories import PackMemories

    return [
        FuseMemories(),  # first: it reads the memory as it was written
        PackMemories(),  # after fusing: it packs what the fused operator names
    ]


def quantizing_passes(quantization: str) -> list[GraphPass]:
    """From the program with int8 linears to the one that is lowered."""
    from spartanc.passes.quantize_embeddings import QuantizeEmbeddings

    return [
        QuantizeEmbeddings(),  # after the linears: capturing again would take the tables for fp32
    ]
