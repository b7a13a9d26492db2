"""Processors by their names in `uname -m` and in ELF files."""

from __future__ import annotations

import struct
from pathlib import Path

_ELF_MACHINES = {62: "x86_64", 183: "aarch64"}
_OTHER_NAMES = {"amd64": "x86_64", "arm64": "aarch64"}


def machine_name(name: str) -> str:
    """One name for each architecture, whatever a system calls it."""
    return _OTHER_NAMES.get(name, name)


def elf_machine(path: Path) -> str:
    """The architecture that a program or library was built for."""
    with path.open("rb") as file:
        head = file.read(20)
    if len(head) < 20 or head[:4] != b"\x7fELF":
        return "something that is no ELF file"
    (number,) = struct.unpack_from("<H", head, 18)
    return _ELF_MACHINES.get(number, f"ELF machine {number}")
