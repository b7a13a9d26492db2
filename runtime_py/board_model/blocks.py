"""What the emulator counted: straight runs of instructions, where they stand, and what they cost the caches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ANONYMOUS = "?"
_WORD = 8  # hex digits of an instruction


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


def _sum(one: Work, other: Work) -> Work:
    first, second, third = (a + b for a, b in zip(one.misses, other.misses, strict=True))
    return Work(one.executions + other.executions, (first, second, third))
