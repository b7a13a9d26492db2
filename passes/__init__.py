"""Graph passes, one a file. The order, with its reasons, stands here and nowhere else."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

# Not inside a function: importing the module of this name later would put the module in the function's place.
from spartanc.passes.fuse_memories import fuse_memories

if TYPE_CHECKING:
    from spartanc.passes.protocol import GraphPass

__all__ = ["exact_passes", "final_passes", "fuse_memories"]


def exact_passes(lowering: str = "fused") -> list[GraphPass]:
    """From the captured program to the fp32 one that may be quantised; each is exact to rounding."""
    from spartanc.passes.drop_batch_dimension import DropBatchDimension
    from spartanc.passes.drop_dead_tokens import DropDeadTokens
    from spartanc.passes.drop_noop_ops import DropNoopOps
    from spartanc.passes.fold_attention_scale import FoldAttentionScale
    from spartanc.passes.fold_position_embeddings import FoldPositionEmbeddings
    from spartanc.passes.fuse_attention import FuseAttention
    from spartanc.passes.fuse_memories import FuseMemories
    from spartanc.passes.simplify_attention_mask import SimplifyAttentionMask

    return [
        FuseMemories(),  # first: it reads the memory as it was written
        DropNoopOps(),  # before the next: a clone between two products would hide the one from the other
        DropBatchDimension(),  # before all that reads attention: it is written in three dimensions from here on
        FoldAttentionScale(),  # before dead tokens go, which takes the last layer's scores apart
        SimplifyAttentionMask(),  # before dead tokens go: a row of the mask needs no cutting
        FoldPositionEmbeddings(),
        DropDeadTokens(),  # after fusing: the memory as it is written does not treat positions apart
        # Last: all before it reads attention as stock operators, which a portable program keeps.
        *([] if lowering == "portable" else [FuseAttention()]),
    ]


def final_passes(
    lowering: str, quantization: str, packed_up_to: float = 4.0, linears: str = "xnnpack"
) -> list[GraphPass]:
    """From there, its linears quantised or not, to the program that is lowered.

    packed_up_to: which form memories take (see `FormChoice`), by the target; linears: whose kernels linears get.

    They come after the linears are quantised: the memory is one operator that PT2E leaves alone, while the linears
    of its portable form must stay exact, and capturing again would take an int8 table for fp32.
    """
    from spartanc.passes.fuse_layer_norms import FuseLayerNorms
    from spartanc.passes.lower_memory_portable import LowerMemoryPortable
    from spartanc.passes.memory_site import FormChoice
    from spartanc.passes.pack_memories import PackMemories
    from spartanc.passes.quantize_embeddings import QuantizeEmbeddings
    from spartanc.passes.quantize_memories import QuantizeMemories

    portable, fp32 = lowering == "portable", quantization == "none"
    if portable:
        memories: GraphPass = LowerMemoryPortable()  # stock operators hold cells in fp32
    else:
        choice = FormChoice(packed_up_to)
        memories = PackMemories(choice) if fp32 else QuantizeMemories(quantization, choice)
    return [
        memories,
        *([] if portable else [FuseLayerNorms()]),  # after the memories, which take a LayerNorm of their own
        *([] if fp32 else [QuantizeEmbeddings(stock=portable)]),
        *_our_linears(linears),
    ]


def _our_linears(linears: str) -> list[GraphPass]:
    """Last: the operator's definition is slow, and every pass behind it would be checked through it."""
    from spartanc.passes.quantize_linears import QuantizeLinears

    return [QuantizeLinears(keep_logits=True)] if linears == "spartan" else []


def shared_passes(lowering: str, quantization: str, task_names: Collection[str]) -> list[GraphPass]:
    """From the captured program to the one whose task tensors become inputs."""
    from spartanc.passes.fuse_layer_norms import FuseLayerNorms
    from spartanc.passes.memory_site import FormChoice
    from spartanc.passes.pack_memories import PackMemories
    from spartanc.passes.quantize_head import QuantizeHead
    from spartanc.passes.quantize_memories import QuantizeMemories

    exact = exact_passes(lowering)
    one_form = FormChoice(float("inf"))  # for memories of every shape
    if lowering == "portable":
        return exact  # lifting writes the memory out in stock operators
    if quantization == "none":
        return [*exact, PackMemories(one_form), FuseLayerNorms()]
    return [
        *exact,
        QuantizeMemories(quantization, one_form),
        FuseLayerNorms(),  # after the memories, which take a LayerNorm of their own
        QuantizeHead(task_names),  # before the linears of the backbone: what becomes an input here is none of theirs
    ]


def shared_backbone_passes(lowering: str, quantization: str, linears: str = "xnnpack") -> list[GraphPass]:
    """From the program with task inputs, its linears quantised or not, to the one that is lowered."""
    from spartanc.passes.quantize_embeddings import QuantizeEmbeddings

    # After the linears: capturing again would take the tables for fp32.
    if quantization == "none":
        return []
    return [QuantizeEmbeddings(stock=lowering == "portable"), *_our_linears(linears)]
