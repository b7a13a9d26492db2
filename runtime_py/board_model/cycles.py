"""Cycles of every block on a core, by llvm-mca: each block as if it were a loop's whole body.

Blocks of one inference are many and most are rare: those beyond REACH of the instructions are given the mean cycles an
instruction of the rest.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from spartanc.errors import CompileError
from spartanc.runtime_py.board_model.assembly import disassemble, straight, words_of
from spartanc.runtime_py.board_model.blocks import Counts, Place, executed_instructions, hottest
from spartanc.runtime_py.board_model.tools import MCA

ITERATIONS = 100
REACH = 0.999  # of all instructions
_REGIONS = 400  # in one run of llvm-mca
_TOTAL = re.compile(r"Total Cycles:\s+(\d+)")
_DIVISION = re.compile(r"^(fdiv|fsqrt) v\d+\.\d")
_SCALAR_DIVISION = re.compile(r"^(fdiv|fsqrt) [sdh]\d")


@dataclass(frozen=True)
class Divisions:
    """Cycles that the divider is busy with one vector division of floats: as fast and as slow as sources have it."""

    fast: float
    slow: float


@dataclass(frozen=True)
class Cycles:
    """Cycles a block takes: as llvm-mca says, and with the fastest and slowest divisions."""

    modelled: float
    fast: float
    slow: float


def cycles_of(counts: Counts, core: str, divisions: Divisions) -> dict[Place, Cycles]:
    """Cycles an execution of every block, for llvm-mca's model `core`."""
    wanted, reached, whole = [], 0.0, executed_instructions(counts) * REACH
    for place, work in hottest(counts):
        if reached >= whole:
            break
        reached += place.instructions * work.executions
        wanted.append(place)
    text = disassemble(word for place in wanted for word in words_of(place.code))
    found = {}
    bodies = [[text[word] for word in words_of(place.code)] for place in wanted]
    plain = run_mca(bodies, core)
    quick = _without_divisions(bodies, core)
    for i, place in enumerate(wanted):
        found[place] = _with_divisions(plain[i], quick.get(i), bodies[i], divisions)
    mean = _mean(found, counts, reached)
    rest = set(counts) - set(found)
    return found | {place: _scaled(mean, place.instructions) for place in rest}


def run_mca(bodies: Sequence[Sequence[str]], core: str) -> list[float]:
    """Cycles an iteration of each body, repeated. Raises CompileError where llvm-mca does not answer for all."""
    found: list[float] = []
    for start in range(0, len(bodies), _REGIONS):
        part = bodies[start : start + _REGIONS]
        lines = []
        for i, body in enumerate(part):
            lines += [f"# LLVM-MCA-BEGIN r{i}", *(each for text in body for each in straight(text))]
            lines.append(f"# LLVM-MCA-END r{i}")
        command = [MCA, "-mtriple=aarch64", "-mattr=+all", f"-mcpu={core}", f"-iterations={ITERATIONS}"]
        command += ["-all-views=false", "-summary-view", "--skip-unsupported-instructions=any"]
        # Without the last line's end llvm-mca does not see the region's.
        done = subprocess.run(command, input="\n".join(lines) + "\n", capture_output=True, text=True)
        totals = _TOTAL.findall(done.stdout)
        if len(totals) != len(part):
            raise CompileError(f"`{MCA}` read {len(totals)} of {len(part)} blocks: {done.stderr.strip()[:300]}")
        found += [int(total) / ITERATIONS for total in totals]
    return found


def divisions_in(body: Iterable[str]) -> float:
    """Vector divisions and square roots in a block; scalar ones count as a quarter."""
    return sum(1.0 if _DIVISION.match(text) else 0.25 for text in body if _is_division(text))


def _is_division(text: str) -> bool:
    return bool(_DIVISION.match(text) or _SCALAR_DIVISION.match(text))


def _without_divisions(bodies: Sequence[Sequence[str]], core: str) -> dict[int, float]:
    """Cycles of the blocks that divide, by index, had they multiplied instead."""
    dividing = [i for i, body in enumerate(bodies) if any(map(_is_division, body))]
    return dict(zip(dividing, run_mca([[_multiplied(t) for t in bodies[i]] for i in dividing], core), strict=True))


def _multiplied(text: str) -> str:
    if text.startswith("fdiv"):
        return text.replace("fdiv", "fmul", 1)
    if text.startswith("fsqrt") and _is_division(text):
        result, operand = text.removeprefix("fsqrt ").split(", ")
        return f"fmul {result}, {operand}, {operand}"
    return text


def _with_divisions(modelled: float, multiplied: float | None, body: Sequence[str], divisions: Divisions) -> Cycles:
    if multiplied is None:
        return Cycles(modelled, modelled, modelled)
    count = divisions_in(body)
    fast = min(modelled, max(multiplied, count * divisions.fast))
    return Cycles(modelled, fast, max(modelled, count * divisions.slow))


def _mean(found: dict[Place, Cycles], counts: Counts, instructions: float) -> Cycles:
    """Cycles an instruction over the blocks that were looked at."""
    if not instructions:
        return Cycles(1.0, 1.0, 1.0)
    sums = [0.0, 0.0, 0.0]
    for place, each in found.items():
        for i, value in enumerate((each.modelled, each.fast, each.slow)):
            sums[i] += value * counts[place].executions
    return Cycles(*(total / instructions for total in sums))


def _scaled(each: Cycles, by: float) -> Cycles:
    return Cycles(each.modelled * by, each.fast * by, each.slow * by)
