"""Builds the C++ kernels with their tests, for this machine and for aarch64."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import cmake
import ninja
import pytest

KERNELS = Path(__file__).parents[2] / "runtime_py" / "native" / "kernels"
CROSS_COMPILER = "aarch64-linux-gnu-g++"
EMULATOR = "qemu-aarch64-static"
SYSROOT = "/usr/aarch64-linux-gnu"
CPUS = ("cortex-a53", "cortex-a72", "cortex-a76")

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ here (Debian: g++)")
_WITHOUT = [
    pytest.mark.skipif(
        shutil.which(CROSS_COMPILER) is None, reason=f"no {CROSS_COMPILER} here (Debian: g++-aarch64-linux-gnu)"
    ),
    pytest.mark.skipif(shutil.which(EMULATOR) is None, reason=f"no {EMULATOR} here (Debian: qemu-user-static)"),
]


def needs_arm(test):
    """Marks a test that cross-compiles and runs what comes out under qemu."""
    for mark in (pytest.mark.qemu, *_WITHOUT):
        test = mark(test)
    return test


def build(directory: Path, *options: str) -> Path:
    """The folder of the tests' programs, all built. AssertionError with the compiler's words where that fails."""
    program = Path(cmake.CMAKE_BIN_DIR, "cmake")
    configure = [
        program, "-S", KERNELS, "-B", directory, "-G", "Ninja",
        f"-DCMAKE_MAKE_PROGRAM={Path(ninja.BIN_DIR, 'ninja')}",
        "-DCMAKE_BUILD_TYPE=Release", "-DSPARTAN_TESTS=ON", *options,
    ]  # fmt: skip
    for command in (configure, [program, "--build", directory]):
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    return directory / "tests"


def build_for_arm(directory: Path) -> Path:
    return build(
        directory,
        "-DCMAKE_SYSTEM_NAME=Linux",
        "-DCMAKE_SYSTEM_PROCESSOR=aarch64",
        f"-DCMAKE_CXX_COMPILER={CROSS_COMPILER}",
        f"-DSPARTAN_EMULATOR={EMULATOR};-L;{SYSROOT}",
        f"-DSPARTAN_EMULATED_CPUS={';'.join(CPUS)}",
    )
