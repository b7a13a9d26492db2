"""The lists of passes that pipelines are made of. Order, with its reasons, stands here and nowhere else.

    single program    exact_passes, [linears by the backend], final_passes
    shared program    exact_passes, task_passes, [task tensors become inputs], [linears by the backend], rest_passes

`stock` says that the program may hold stock operators only.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from spartanc.passes.drop_batch_dimension import DropBatchDimension
from spartanc.passes.drop_dead_tokens import DropDeadTokens
from spartanc.passes.drop_noop_ops import DropNoopOps
from spartanc.passes.expand_powers import ExpandPowers
from spartanc.passes.fold_affine import FoldAffine
from spartanc.passes.fold_attention_scale import FoldAttentionScale
from spartanc.passes.fold_constants import FoldConstants
from spartanc.passes.fold_distances import FoldDistances
from spartanc.passes.fold_position_embeddings import FoldPositionEmbeddings
from spartanc.passes.fold_rotary_positions import FoldRotaryPositions
from spartanc.passes.fuse_attention import FuseAttention
from spartanc.passes.fuse_layer_norms import FuseLayerNorms
from spartanc.passes.fuse_memories import FuseMemories
from spartanc.passes.fuse_relative_attention import FuseRelativeAttention
from spartanc.passes.lower_memory_portable import LowerMemoryPortable
from spartanc.passes.memory_site import FormChoice
from spartanc.passes.protocol import GraphPass
from spartanc.passes.remove_zero_heads import RemoveZeroHeads
from spartanc.passes.remove_zero_units import RemoveZeroUnits
from spartanc.passes.schemes.none import NONE
from spartanc.passes.schemes.scheme_passes import SchemePasses
from spartanc.passes.simplify_attention_mask import SimplifyAttentionMask
from spartanc.passes.split_linears import SplitLinears

ONE_FORM = FormChoice(float("inf"))  # for memories of every shape, which one shared program takes


def exact_passes(*, stock: bool = False) -> list[GraphPass]:
    """From the captured program to the fp32 one that may be quantised; each is exact to rounding."""
    return [
        FuseMemories(),  # first: it reads the memory as it was written
        DropNoopOps(),  # before the next: a clone between two products would hide the one from the other
        FoldConstants(),  # before the next, which reads tables of positions where they are stored
        # Before the mask becomes a row, and before dead tokens go: it knows both as they are written.
        *([] if stock else [FuseRelativeAttention()]),
        FoldDistances(),  # behind it: what is fused gathers nothing
        SplitLinears(),  # before the next two: they know heads as a view of a linear of their own
        FoldRotaryPositions(),  # before the batch goes: it turns heads while a position's stand side by side
        DropBatchDimension(),  # before all that reads attention: it is written in three dimensions from here on
        FoldAttentionScale(),  # before dead tokens go, which takes the last layer's scores apart
        SimplifyAttentionMask(),  # before dead tokens go: a row of the mask needs no cutting
        FoldPositionEmbeddings(),
        ExpandPowers(),  # before dead tokens go: a product treats positions apart
        FoldAffine(),  # before all that reads weights: dead tokens and attention take them as they are then
        DropDeadTokens(),  # after fusing: the memory as it is written does not treat positions apart
        # After all that reads attention as stock operators, which a portable program keeps: heads are a number in the
        # fused operator, and views in stock ones.
        *([] if stock else [FuseAttention(), RemoveZeroHeads()]),
        RemoveZeroUnits(),  # last: it names zeros that stay, and before costs are taken and linears fitted or quantised
    ]


def final_passes(
    scheme: SchemePasses = NONE,
    *,
    stock: bool = False,
    choice: FormChoice | None = None,
    linears: Sequence[GraphPass] = (),
) -> list[GraphPass]:
    """From there, its linears quantised or not, to the program that is lowered.

    choice: which form memories take, by the target; linears: passes of the backend that quantise linears.

    They come after linears that PT2E quantises: the memory is one operator that PT2E leaves alone, while the linears of
    its portable form must stay exact, and capturing again would take an int8 table for fp32.
    """
    return [
        LowerMemoryPortable() if stock else scheme.memories(choice or FormChoice()),  # stock operators: cells in fp32
        *([] if stock else [FuseLayerNorms()]),  # after the memories, which take a LayerNorm of their own
        *rest_passes(scheme, stock=stock, linears=linears),
    ]


def task_passes(scheme: SchemePasses, task_names: Collection[str], *, stock: bool = False) -> list[GraphPass]:
    """Of a shared program, before its task tensors become inputs: what a task brings takes its final form."""
    if stock:
        return []  # lifting writes the memory out in stock operators
    return [
        scheme.memories(ONE_FORM),
        FuseLayerNorms(),  # after the memories, which take a LayerNorm of their own
        *scheme.head(task_names),  # before the linears of the backbone: what becomes an input here is none of theirs
    ]


def rest_passes(scheme: SchemePasses, *, stock: bool = False, linears: Sequence[GraphPass] = ()) -> list[GraphPass]:
    """The backbone's attention, its tables, and its linears where a pass quantises them."""
    return [
        *scheme.attention(stock),
        *scheme.embeddings(stock),  # after linears that PT2E quantises: capturing again would take tables for fp32
        *linears,  # last: the operator's definition is slow, and every pass behind it would be checked through it
    ]
