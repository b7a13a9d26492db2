"""Cycles and bytes of one inference to milliseconds on a board."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from spartanc.runtime_py.board_model.blocks import Counts, Place, Work, executed_instructions
from spartanc.runtime_py.board_model.cycles import Cycles, cycles_of
from spartanc.runtime_py.board_model.parameters import Board

LINE = 64  # bytes that a miss moves


@dataclass(frozen=True)
class Modelled:
    """One inference on one core, modelled. `fast_ms` and `slow_ms` are the ends of what is known of divisions.

    all_cores_ms_at_least is a bound for all cores: bytes over bandwidth or cycles over cores, whichever is more.
    """

    board: str
    instructions: int
    cycles: float
    bytes_from_memory: float
    ms: float
    fast_ms: float
    slow_ms: float
    all_cores_ms_at_least: float


def modelled(counts: Counts, board: Board) -> Modelled:
    """What `counts` take on `board`. Raises CompileError where LLVM's tools do not answer."""
    return with_cycles(counts, cycles_of(counts, board.mca_core, board.divisions), board)


def with_cycles(counts: Counts, cycles: Mapping[Place, Cycles], board: Board) -> Modelled:
    """The same for cycles that are known."""
    total = sum(cycles[place].modelled * work.executions for place, work in counts.items())
    read = sum(bytes_from_memory(work, board) for work in counts.values())
    return Modelled(
        board=board.name,
        instructions=executed_instructions(counts),
        cycles=total,
        bytes_from_memory=read,
        ms=_ms(counts, cycles, board, lambda each: each.modelled),
        fast_ms=_ms(counts, cycles, board, lambda each: each.fast),
        slow_ms=_ms(counts, cycles, board, lambda each: each.slow),
        all_cores_ms_at_least=max(_memory_ms(read, board), _computing_ms(total, board) / board.cores),
    )


def bytes_from_memory(work: Work, board: Board) -> float:
    """What missed the board's last cache."""
    return work.misses[len(board.caches) - 1] * LINE


def _ms(counts: Counts, cycles: Mapping[Place, Cycles], board: Board, which: Callable[[Cycles], float]) -> float:
    joined: Callable[..., float] = max if board.memory == "larger" else lambda one, other: one + other
    return sum(
        joined(
            _computing_ms(which(cycles[place]) * work.executions, board),
            _memory_ms(bytes_from_memory(work, board), board),
        )
        for place, work in counts.items()
    )


def _computing_ms(cycles: float, board: Board) -> float:
    return cycles / (board.clock_mhz * 1e3)


def _memory_ms(read: float, board: Board) -> float:
    return read / (board.dram_gb_per_s * 1e6)
