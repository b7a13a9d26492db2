"""The C++ kernels' own tests, built and run for this machine and for aarch64 under qemu."""

import os
import platform
import shutil
import subprocess
from pathlib import Path

import cmake
import ninja
import pytest

KERNELS = Path(__file__).parents[3] / "runtime_py" / "native" / "kernels"
CROSS_COMPILER = "aarch64-linux-gnu-g++"
EMULATOR = "qemu-aarch64-static"
SYSROOT = "/usr/aarch64-linux-gnu"
CPUS = ("cortex-a53", "cortex-a72", "cortex-a76")


def build(directory: Path, *options: str) -> None:
    program = Path(cmake.CMAKE_BIN_DIR, "cmake")
    configure = [
        program, "-S", KERNELS, "-B", directory, "-G", "Ninja",
        f"-DCMAKE_MAKE_PROGRAM={Path(ninja.BIN_DIR, 'ninja')}",
        "-DCMAKE_BUILD_TYPE=Release", "-DSPARTAN_TESTS=ON", *options,
    ]  # fmt: skip
    for command in (configure, [program, "--build", directory]):
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def run_tests(directory: Path, *options: str) -> str:
    command = [Path(cmake.CMAKE_BIN_DIR, "ctest"), "--test-dir", directory, "--output-on-failure", *options]
    done = subprocess.run([*command, "-V"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ here (Debian: g++)")
def test_kernels_agree_with_float64_on_this_machine(tmp_path):
    build(tmp_path)
    output = run_tests(tmp_path)
    assert "f32_portable: tested" in output
    assert "layer_norm, portable: tested" in output
    assert "linear_int8 portable: tested" in output
    assert "attention, portable: tested" in output
    if platform.machine() == "x86_64" and "avx2" in Path("/proc/cpuinfo").read_text():
        assert "f32_avx2: tested" in output
        assert "quantised, avx2: tested" in output


@pytest.mark.qemu
@pytest.mark.skipif(
    shutil.which(CROSS_COMPILER) is None, reason=f"no {CROSS_COMPILER} here (Debian: g++-aarch64-linux-gnu)"
)
@pytest.mark.skipif(shutil.which(EMULATOR) is None, reason=f"no {EMULATOR} here (Debian: qemu-user-static)")
def test_kernels_agree_with_float64_on_arm_processors(tmp_path):
    build(
        tmp_path,
        "-DCMAKE_SYSTEM_NAME=Linux",
        "-DCMAKE_SYSTEM_PROCESSOR=aarch64",
        f"-DCMAKE_CXX_COMPILER={CROSS_COMPILER}",
        f"-DSPARTAN_EMULATOR={EMULATOR};-L;{SYSROOT}",
        f"-DSPARTAN_EMULATED_CPUS={';'.join(CPUS)}",
    )
    output = run_tests(tmp_path, "-j", str(os.cpu_count()))
    for cpu in CPUS:
        assert f"memory_lookup_f32_test.{cpu}" in output
        assert f"memory_lookup_quantized_test.{cpu}" in output
        assert f"layer_norm_test.{cpu}" in output
        assert f"linear_int8_test.{cpu}" in output
        assert f"attention_test.{cpu}" in output
    assert output.count("f32_neon: tested") == len(CPUS)
    assert output.count("layer_norm, neon: tested") == len(CPUS)
    assert output.count("attention, neon: tested") == len(CPUS)
    assert output.count("quantised, neon: tested") == len(CPUS)
    assert output.count("quantised, neondot: tested") == 1  # of the three, Cortex-A76 has dot products
