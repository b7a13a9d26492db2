"""What the emulator counted: straight runs of instructions, where they stand, and what they cost the caches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ANONYMOUS = "?"
_WORD = 8  # hex digits of an instruction
_PAGE = 4096
# (mask, value) of the instructions that leave a block: b and bl, b.cond, cbz and cbnz, tbz and tbnz, br, blr and ret.
_BRANCHES = (
    (0x7C000000, 0x14000000),
    (0xFF000000, 0x54000000),
    (0x7E000000, 0x34000000),
    (0x7E000000, 0x36000000),
    (0xFE000000, 0xD6000000),
)


@dataclass(frozen=True)
class Place:
    """A block's identity: its file (or ANONYMOUS), the offset in it, its instruction words in hex."""

    file: str
    offset: int
    code: str

    @property
    def instructions(self) -> int:
        return len(self.code) // _WORD


@dataclass(frozen=True)
class Work:
    """How often a block was executed, and how many cache lines it missed at each of three levels."""

    executions: float
    misses: tuple[float, float, float] = (0.0, 0.0, 0.0)


Counts = dict[Place, Work]


@dataclass(frozen=True)
class _Mapping:
    start: int
    end: int
    offset: int
    file: str


def read_counts(path: Path) -> Counts:
    """The counts that count_blocks.c wrote to `path`."""
    mappings: list[_Mapping] = []
    counts: Counts = {}
    for line in path.read_text(errors="replace").splitlines():
        kind, _, rest = line.partition(" ")
        if kind == "M":
            mappings.append(_mapping(rest))
        elif kind == "B":
            address, executions, *misses, code = rest.split()
            place = _place(int(address, 16), code, mappings)
            found = Work(float(executions), (float(misses[0]), float(misses[1]), float(misses[2])))
            counts[place] = _sum(counts[place], found) if place in counts else found
    return counts


def difference(more: Counts, less: Counts) -> Counts:
    """What `more` did beyond `less`, block by block; blocks that did no more are left out."""
    found = {}
    for place, work in more.items():
        base = less.get(place, Work(0.0))
        extra = work.executions - base.executions
        if extra > 0:
            first, second, third = (a - b for a, b in zip(work.misses, base.misses, strict=True))
            found[place] = Work(extra, (first, second, third))
    return found


def joined(counts: Counts) -> Counts:
    """The same work with runs in one piece that the emulator cut where a page of code ends.

    It translates no block across a page, so where the linker put a loop would decide whether it counts as two, each
    with a start of its own: up to two thirds more cycles for a short one. What does not end in a branch goes on behind.
    """
    parts = dict(counts)
    by_start = {(place.file, place.offset): place for place in counts if place.offset % _PAGE == 0}
    for place, work in counts.items():
        end = place.offset + 4 * place.instructions
        rest = by_start.get((place.file, end))
        if end % _PAGE or rest is None or rest == place or _branches(place.code[-_WORD:]):
            continue
        left = parts[rest]
        share = min(1.0, work.executions / left.executions) if left.executions else 0.0
        whole = Place(place.file, place.offset, place.code + rest.code)
        parts[whole] = _sum(work, Work(0.0, _scaled(left.misses, share)))
        parts[rest] = Work(left.executions * (1 - share), _scaled(left.misses, 1 - share))
        del parts[place]
    return {place: work for place, work in parts.items() if work.executions > 0}


def executed_instructions(counts: Counts) -> int:
    return round(sum(place.instructions * work.executions for place, work in counts.items()))


def hottest(counts: Counts) -> Iterator[tuple[Place, Work]]:
    """Blocks by instructions executed, most first; ties by place, so that the order is always the same."""
    yield from sorted(
        counts.items(),
        key=lambda item: (-item[0].instructions * item[1].executions, item[0].file, item[0].offset, item[0].code),
    )


def _mapping(line: str) -> _Mapping:
    addresses, _, offset, _, _, file = line.split(maxsplit=5)
    start, end = (int(each, 16) for each in addresses.split("-"))
    return _Mapping(start, end, int(offset, 16), file)


def _place(address: int, code: str, mappings: list[_Mapping]) -> Place:
    for each in mappings:
        if each.start <= address < each.end:
            return Place(each.file, address - each.start + each.offset, code)
    return Place(ANONYMOUS, address, code)


def _branches(word: str) -> bool:
    instruction = int(word, 16)
    return any(instruction & mask == value for mask, value in _BRANCHES)


def _scaled(misses: tuple[float, float, float], factor: float) -> tuple[float, float, float]:
    first, second, third = (each * factor for each in misses)
    return first, second, third


def _sum(one: Work, other: Work) -> Work:
    first, second, third = (a + b for a, b in zip(one.misses, other.misses, strict=True))
    return Work(one.executions + other.executions, (first, second, third))
