"""What it takes to build and to emulate programs for a processor architecture, as data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Program:
    """A program of the system. needed_for: a word for tables; package: Debian's."""

    name: str
    package: str
    needed_for: str
    purpose: str

    @property
    def hint(self) -> str:
        return f"apt-get install {self.package}"


@dataclass(frozen=True)
class Wheel:
    """The published wheel that carries ExecuTorch's libraries. options: pip's, that pick it; megabytes: its size."""

    sha256: str
    options: tuple[str, ...]
    megabytes: int


@dataclass(frozen=True)
class Toolchain:
    """architecture: as `uname -m` says it. cmake_file: below native/cmake. sysroot: the C and C++ libraries, with
    `loader` in its `lib`.
    """

    architecture: str
    compiler: Program
    cmake_file: str
    qemu: Program
    sysroot: Path
    loader: str
    wheel: Wheel


HOST_COMPILER = Program("g++", "g++", "host", "builds the kernels for this machine")

AARCH64 = Toolchain(
    architecture="aarch64",
    compiler=Program("aarch64-linux-gnu-g++", "g++-aarch64-linux-gnu", "aarch64", "builds the runtime for Arm boards"),
    cmake_file="aarch64-linux-gnu.cmake",
    qemu=Program("qemu-aarch64-static", "qemu-user-static", "qemu", "runs Arm programs here"),
    sysroot=Path("/usr/aarch64-linux-gnu"),  # of Debian's cross compiler
    loader="ld-linux-aarch64.so.1",
    wheel=Wheel(
        sha256="8ee02348a3ea80ddf770822911ebf78da616b73afce0fbaaa79f23311c88c66a",
        options=(
            "--platform=manylinux_2_28_aarch64",
            "--python-version=3.11",
            "--implementation=cp",
            "--abi=cp311",
        ),
        megabytes=18,
    ),
)
TOOLCHAINS = {toolchain.architecture: toolchain for toolchain in (AARCH64,)}
NATIVE = "native"  # the architecture of this machine, whatever it is
