"""Instruction words as text that llvm-mca takes."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable

from spartanc.errors import CompileError
from spartanc.runtime_py.board_model.tools import ASSEMBLER

_WORD = 8
_INVALID = re.compile(r"<stdin>:(\d+):\d+: warning: invalid")
# What leaves a block, and what talks to the system: llvm-mca has no place to jump to.
_BRANCH = re.compile(r"(ret\b|b(\.\w+)?\s|bl\s|br\s|blr\s|cbn?z\s|tbn?z\s)")
_SYSTEM = re.compile(r"(svc|mrs|msr|hint|dmb|dsb|isb|brk|udf)\b")
_AFTER = re.compile(r"^(st\S+ .*), \[(x\d+|sp)\], (#-?\d+|x\d+)$")
_BEFORE = re.compile(r"^(st\S+ .*), \[(x\d+|sp), (#-?\d+)\]!$")


def words_of(code: str) -> list[str]:
    return [code[i : i + _WORD] for i in range(0, len(code), _WORD)]


def disassemble(words: Iterable[str]) -> dict[str, str]:
    """Text of each instruction word (hex); words that are no instruction become `nop`.

    Raises CompileError where llvm-mc gives another number of lines than it was given words.
    """
    wanted = sorted(set(words))
    if not wanted:
        return {}
    lines = "\n".join(" ".join(f"0x{word[i : i + 2]}" for i in (6, 4, 2, 0)) for word in wanted)
    command = [ASSEMBLER, "-disassemble", "-triple=aarch64", "-mattr=+all"]
    done = subprocess.run(command, input=lines + "\n", capture_output=True, text=True)
    text = [line.strip() for line in done.stdout.splitlines() if line.strip() and not line.strip().startswith(".")]
    invalid = {int(found[1]) - 1 for found in _INVALID.finditer(done.stderr)}
    if len(text) + len(invalid) != len(wanted):
        raise CompileError(f"`{ASSEMBLER}` read {len(text)} of {len(wanted)} instructions: {done.stderr[:200]}")
    valid = iter(text)
    return {word: "nop" if i in invalid else re.sub(r"\s+", " ", next(valid)) for i, word in enumerate(wanted)}


def straight(text: str) -> list[str]:
    """One instruction as llvm-mca is to see it: no jump out, and a store apart from its pointer's step.

    llvm-mca lets the next use of a stepped pointer wait for the data that is stored; cores do not.
    """
    if _BRANCH.match(text) or text == "ret":
        return ["b #4"]
    if _SYSTEM.match(text):
        return ["nop"]
    if step := _AFTER.match(text):
        return [f"{step[1]}, [{step[2]}]", _advance(step[2], step[3])]
    if step := _BEFORE.match(text):
        return [_advance(step[2], step[3]), f"{step[1]}, [{step[2]}]"]
    return [text]


def _advance(pointer: str, by: str) -> str:
    operation, amount = ("sub", "#" + by[2:]) if by.startswith("#-") else ("add", by)
    return f"{operation} {pointer}, {pointer}, {amount}"
