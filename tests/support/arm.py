"""What an aarch64 binary holds: instructions, needed libraries and symbol versions, read by binutils and LLVM."""

from __future__ import annotations

import re
import subprocess
from collections import defaultdict
from pathlib import Path

OBJDUMP, READELF, LLVM_MC = "aarch64-linux-gnu-objdump", "aarch64-linux-gnu-readelf", "llvm-mc"
_SYMBOL = re.compile(r"^[0-9a-f]+ <(.+)>:$")
_INSTRUCTION = re.compile(r"^\s+[0-9a-f]+:\t([0-9a-f]{8}) \t(\S+)")


def _output(*command: str | Path) -> str:
    return subprocess.run([*map(str, command)], capture_output=True, text=True, check=True).stdout


def instructions(path: Path) -> dict[tuple[str, str], set[str]]:
    """(encoding, mnemonic) of every instruction, with the functions it stands in."""
    found: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    function = ""
    for line in _output(OBJDUMP, "-d", path).splitlines():
        symbol, instruction = _SYMBOL.match(line), _INSTRUCTION.match(line)
        if symbol:
            function = symbol[1]
        elif instruction:
            found[instruction[1], instruction[2]].add(function)
    assert found, f"{path} has no code"
    return found


def beyond_base(found: dict[tuple[str, str], set[str]]) -> dict[str, set[str]]:
    """Mnemonics that are no Armv8.0-A with NEON, with the functions they stand in; LLVM's decoder decides."""
    keys = list(found)
    lines = "\n".join(" ".join(f"0x{word[i : i + 2]}" for i in (6, 4, 2, 0)) for word, _ in keys)
    decoder = [LLVM_MC, "--disassemble", "-triple=aarch64-linux-gnu", "-mattr=+neon,+fp-armv8"]
    done = subprocess.run(decoder, input=lines, capture_output=True, text=True, check=True)
    beyond: defaultdict[str, set[str]] = defaultdict(set)
    for number in re.findall(r"<stdin>:(\d+):\d+: warning: invalid instruction encoding", done.stderr):
        key = keys[int(number) - 1]
        beyond[key[1]] |= found[key]
    return dict(beyond)


def dynamic(path: Path, tag: str) -> list[str]:
    """Values of a tag of the dynamic section, such as NEEDED."""
    return re.findall(rf"\({tag}\)[^\[]*\[([^\]]*)\]", _output(READELF, "-dW", path))


def newest_version(path: Path, family: str) -> tuple[int, ...]:
    """The newest symbol version of `family` (GLIBC, GLIBCXX) that the file asks for; (0,) where it asks for none."""
    found = re.findall(rf"Name: {family}_([0-9.]+)", _output(READELF, "-VW", path))
    return max((tuple(map(int, version.split("."))) for version in found), default=(0,))
