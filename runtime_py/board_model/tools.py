"""The programs that the board model needs, and one error that names all that are missing."""

from __future__ import annotations

import os
import shutil
import subprocess

from spartanc.base.toolchain import HOST_COMPILER, Program
from spartanc.errors import MissingToolError

EMULATOR, EMULATOR_PACKAGE = "qemu-aarch64", "qemu-user"  # the static one takes no plugins
# From LLVM 19 on the Neoverse N1 has a model of its own; other versions may differ, so the version is pinned.
MCA, ASSEMBLER, LLVM_PACKAGE = "llvm-mca-19", "llvm-mc-19", "llvm-19"
SYMBOLS = "llvm-nm-19"
PROGRAMS = (
    Program(EMULATOR, EMULATOR_PACKAGE, "qemu", "counts an Arm program's instructions"),
    Program(MCA, LLVM_PACKAGE, "qemu", "models a board's time"),
)
FIXED_ADDRESSES = ("setarch", "--addr-no-randomize")


def missing_to_count() -> list[str]:
    """Debian packages without which nothing can be counted."""
    missing = []
    if shutil.which(EMULATOR) is None:
        missing.append(EMULATOR_PACKAGE)
    if shutil.which(os.environ.get("CXX") or HOST_COMPILER.name) is None:
        missing.append(HOST_COMPILER.package)
    return missing


def missing_packages() -> list[str]:
    """Debian packages of all tools that are not there."""
    without_llvm = shutil.which(MCA) is None or shutil.which(ASSEMBLER) is None
    return missing_to_count() + ([LLVM_PACKAGE] if without_llvm else [])


def require(missing: list[str], what: str) -> None:
    """MissingToolError (exit 5) that names every missing package."""
    if missing:
        raise MissingToolError(
            f"{what} needs Debian's {', '.join(f'`{name}`' for name in missing)}",
            hint=f"apt-get install {' '.join(missing)}",
        )


def require_tools() -> None:
    """MissingToolError (exit 5) where the model can't be computed here."""
    require(missing_packages(), "the board model")


def fixed_addresses() -> list[str]:
    """Words before a command that keep its addresses the same in every run; none where the kernel refuses."""
    try:
        refused = subprocess.run([*FIXED_ADDRESSES, "true"], capture_output=True).returncode
    except FileNotFoundError:
        refused = 1
    return [] if refused else list(FIXED_ADDRESSES)
