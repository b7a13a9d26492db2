"""The C++ kernels' own tests, built and run for this machine and for aarch64 under qemu."""

import os
import platform
import subprocess
from pathlib import Path

import cmake

from support.kernels import CPUS, needs_arm, needs_compiler


def run_tests(directory: Path, *options: str) -> str:
    command = [Path(cmake.CMAKE_BIN_DIR, "ctest"), "--test-dir", directory, "--output-on-failure", *options]
    done = subprocess.run([*command, "-V"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@needs_compiler
def test_kernels_agree_with_float64_on_this_machine(host_kernels):
    output = run_tests(host_kernels)
    assert "f32_portable: tested" in output
    assert "layer_norm, portable: tested" in output
    assert "linear_int8 portable: tested" in output
    assert "attention, portable: tested" in output
    if platform.machine() == "x86_64" and "avx2" in Path("/proc/cpuinfo").read_text():
        assert "f32_avx2: tested" in output
        assert "quantised, avx2: tested" in output


@needs_arm
def test_kernels_agree_with_float64_on_arm_processors(arm_kernels):
    output = run_tests(arm_kernels, "-j", str(os.cpu_count()))
    for cpu in CPUS:
        assert f"memory_lookup_f32_test.{cpu}" in output
        assert f"memory_lookup_quantized_test.{cpu}" in output
        assert f"layer_norm_test.{cpu}" in output
        assert f"linear_int8_test.{cpu}" in output
        assert f"attention_test.{cpu}" in output
    assert output.count("f32_neon: tested") == len(CPUS)
    assert output.count("layer_norm, neon: tested") == len(CPUS)
    assert output.count("attention, neon: tested") == len(CPUS)
    assert output.count("attention, half: tested") == 1  # of the three, Cortex-A76 computes in half precision
    assert output.count("linear_int8 neonhalf: tested") == 1
    assert output.count("quantised, neon: tested") == len(CPUS)
    assert output.count("quantised, neondot: tested") == 1  # of the three, Cortex-A76 has dot products
