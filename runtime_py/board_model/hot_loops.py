"""Where the cycles of an inference go: by function and loop, with multiply-adds a cycle beside the limit."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from spartanc.runtime_py.board_model.assembly import disassemble, words_of
from spartanc.runtime_py.board_model.blocks import Counts, Place
from spartanc.runtime_py.board_model.cycles import Cycles
from spartanc.runtime_py.board_model.parameters import Board
from spartanc.runtime_py.board_model.symbols import function_at

LEAST_SHARE = 0.01
# The result's lanes, and how many products each lane of it sums.
_VECTOR = re.compile(r"^(fmla|fmls|mla|mls|[su]mull2?|[su]mlal2?|[su]dot|[su]mmla) v\d+\.(\d+)[hsdb]")
_PRODUCTS = {"sdot": 4, "udot": 4, "smmla": 8, "ummla": 8}
_SCALAR = re.compile(r"^(fmadd|fmsub|fnmadd|fnmsub) [shd]\d")


@dataclass(frozen=True)
class Loop:
    """A hot block. `share` is of all cycles; `limit` the multiply-adds a cycle that the core can do, for those here."""

    offset: int
    share: float
    executions: float
    instructions: int
    cycles: float
    macs_per_cycle: float
    limit: float
    misses_l1: float


@dataclass(frozen=True)
class HotFunction:
    """A function with its hot loops, most cycles first."""

    name: str
    share: float
    loops: tuple[Loop, ...]


def hot_functions(
    counts: Counts,
    cycles: Mapping[Place, Cycles],
    board: Board,
    name_of: Callable[[str, int], str] = function_at,
) -> list[HotFunction]:
    """Functions that take at least LEAST_SHARE of the cycles, most first, with their loops of at least as much."""
    spent = {place: cycles[place].modelled * work.executions for place, work in counts.items()}
    total = sum(spent.values())
    by_function: defaultdict[str, list[Place]] = defaultdict(list)
    for place in counts:
        by_function[name_of(place.file, place.offset)].append(place)
    hot = [place for place in counts if spent[place] >= LEAST_SHARE * total]
    text = disassemble(word for place in hot for word in words_of(place.code))
    found = []
    for name, places in by_function.items():
        share = sum(spent[place] for place in places) / total
        if share < LEAST_SHARE:
            continue
        loops = [
            _loop(place, [text[word] for word in words_of(place.code)], counts, cycles[place].modelled, total, board)
            for place in places
            if spent[place] >= LEAST_SHARE * total
        ]
        found.append(HotFunction(name, share, tuple(sorted(loops, key=lambda loop: (-loop.share, loop.offset)))))
    return sorted(found, key=lambda function: (-function.share, function.name))


def multiply_adds(body: Sequence[str]) -> dict[str, int]:
    """Multiply-adds of a block by arithmetic (fp32, int8), all lanes counted."""
    found = {"fp32": 0, "int8": 0}
    for text in body:
        if vector := _VECTOR.match(text):
            kind = "fp32" if vector[1].startswith("f") else "int8"
            found[kind] += int(vector[2]) * _PRODUCTS.get(vector[1], 1)
        elif _SCALAR.match(text):
            found["fp32"] += 1
    return found


def _loop(place: Place, body: Sequence[str], counts: Counts, cycles: float, total: float, board: Board) -> Loop:
    work, macs = counts[place], multiply_adds(body)
    kind = max(macs, key=lambda name: macs[name])
    return Loop(
        offset=place.offset,
        share=cycles * work.executions / total,
        executions=work.executions,
        instructions=place.instructions,
        cycles=cycles,
        macs_per_cycle=sum(macs.values()) / cycles if cycles else 0.0,
        limit=board.macs_per_cycle[kind],
        misses_l1=work.misses[0] / work.executions,
    )
