"""Which native runtime runs a bundle on this machine."""

from __future__ import annotations

import platform
from pathlib import Path

from spartanc.runtime_py.architecture import elf_machine, machine_name
from spartanc.runtime_py.build import COMMAND, LIBRARY, build_runtime


def local_runtime(bundle: Path) -> Path:
    """The folder with `spartan` and `libspartan.so`: the bundle's own if it is for this processor, as on the board
    itself, else the one of this machine, built now if need be.

    Raises MissingToolError if it can't be built here.
    """
    own = bundle / "runtime"
    command = own / COMMAND
    fits = command.is_file() and elf_machine(command) == machine_name(platform.machine())
    return own if fits and (own / LIBRARY).is_file() else build_runtime("host")
