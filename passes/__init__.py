"""Graph passes, one a file. The order, with its reasons, stands here and nowhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch.export import ExportedProgram

    from spartanc.passes.fuse_memories import FusionReport
    from spartanc.passes.protocol import GraphPass


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


def fuse_memories(program: ExportedProgram) -> tuple[ExportedProgram, FusionReport]:
    """Replace every SPARTAN memory in `program`, ours or not, by `spartan::memory_lookup`.

    Returns the new program and a report: `fused` counts memories, `skipped` names near misses with their reasons.
    """
    from spartanc.passes.fuse_memories import FuseMemories

    return FuseMemories().run(program)
