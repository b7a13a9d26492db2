"""Which function a place in a library belongs to, as far as its symbol table tells."""

from __future__ import annotations

import struct
import subprocess
from bisect import bisect_right
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from spartanc.runtime_py.board_model.tools import SYMBOLS

_LOADABLE = 1


@dataclass(frozen=True)
class Function:
    start: int
    size: int
    name: str


def function_at(file: str, offset: int) -> str:
    """The function at `offset` of ELF file `file`; `LIBRARY, no symbol` where none covers it."""
    unnamed = f"{Path(file).name}, no symbol"
    if not Path(file).is_file():
        return unnamed
    address = _address(file, offset)
    functions = _functions(file)
    i = bisect_right(functions, address, key=lambda each: each.start) - 1
    if i < 0 or address >= functions[i].start + functions[i].size:
        return unnamed
    return functions[i].name


@cache
def _functions(file: str) -> list[Function]:
    """Functions of known size, of the full and of the dynamic symbol table, in order."""
    found: dict[int, Function] = {}
    for more in ([], ["--dynamic"]):
        words = [SYMBOLS, "--defined-only", "--print-size", "--demangle", *more, file]
        for line in subprocess.run(words, capture_output=True, text=True).stdout.splitlines():
            parts = line.split(maxsplit=3)
            if len(parts) == 4 and parts[2] in "tTwWiV":
                start, size = int(parts[0], 16), int(parts[1], 16)
                found.setdefault(start, Function(start, size, parts[3]))
    return sorted(found.values(), key=lambda each: each.start)


@cache
def _segments(file: str) -> list[tuple[int, int, int]]:
    """(offset in the file, address, size) of every loadable segment; ELF-64, little endian."""
    head = Path(file).read_bytes()[:8192]
    if head[:6] != b"\x7fELF\x02\x01":
        return []
    (table,) = struct.unpack_from("<Q", head, 32)
    size, count = struct.unpack_from("<HH", head, 54)
    found = []
    for i in range(count):
        kind, _, offset, address, _, length = struct.unpack_from("<IIQQQQ", head, table + i * size)
        if kind == _LOADABLE:
            found.append((offset, address, length))
    return found


def _address(file: str, offset: int) -> int:
    for start, address, length in _segments(file):
        if start <= offset < start + length:
            return offset - start + address
    return offset
