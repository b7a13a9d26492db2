"""Kernels, session and the readers of files under AddressSanitizer and UndefinedBehaviorSanitizer, with input that no
caller should give; threads of our own under ThreadSanitizer. `make fuzz` runs the same with large numbers.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from spartanc.runtime_py import build
from support.programs import export_tiny

NATIVE = Path(__file__).parents[3] / "runtime_py" / "native"
ADDRESS = "-fsanitize=address,undefined -fno-sanitize-recover=all"
ENVIRONMENT = {"ASAN_OPTIONS": "detect_leaks=0", "UBSAN_OPTIONS": "print_stacktrace=1"}

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ here (Debian: g++)")


def make(directory: Path, flags: str, *targets: str) -> Path:
    """The folder of `targets`, built with `flags`."""
    executorch = build._installed_executorch() / "lib" / "cmake" / "executorch"
    cmake = build._tool("cmake")
    configure = [
        cmake, "-S", NATIVE, "-B", directory, "-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={build._tool('ninja')}",
        f"-Dexecutorch_DIR={executorch}", "-DCMAKE_BUILD_TYPE=None", "-DSPARTAN_TESTS=ON",
        f"-DCMAKE_CXX_FLAGS=-O1 -g1 {flags}", "-DCMAKE_CXX_COMPILER=g++",
    ]  # fmt: skip
    for command in (configure, [cmake, "--build", directory, "--target", *targets]):
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return directory / "runtime"


def run(*command: object) -> str:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, env=os.environ | ENVIRONMENT)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    path = tmp_path_factory.mktemp("program") / "tiny.pte"
    export_tiny(path)
    return path


def test_hostile_input_under_address_and_undefined_behaviour_sanitizers(tmp_path, program):
    targets = ("memory_lookup_hostile_test", "spartan_api_fuzz", "spartan_files_fuzz")
    runtime = make(tmp_path, ADDRESS, *targets)
    assert "hostile input: tested" in run(tmp_path / "kernels" / "tests" / "memory_lookup_hostile_test")
    assert "1000 inputs" in run(runtime / "spartan_api_fuzz", program, "--count", 1000)
    assert "20000 inputs" in run(runtime / "spartan_files_fuzz", program, "--count", 20000)


def test_sessions_of_several_threads_under_the_thread_sanitizer(tmp_path, program):
    """ExecuTorch's own libraries are not instrumented, so what they do among themselves is not judged."""
    if shutil.which("setarch") is None:
        pytest.skip("no setarch here: this compiler's ThreadSanitizer needs addresses that are not randomised")
    runtime = make(tmp_path, "-fsanitize=thread", "spartan_threads_test")
    said = run("setarch", "-R", runtime / "spartan_threads_test", program, 4, 2)
    assert "0 wrong" in said
