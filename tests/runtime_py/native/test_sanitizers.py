"""Kernels, session and the readers of files under AddressSanitizer and UndefinedBehaviorSanitizer, with input that no
caller should give; threads of our own under ThreadSanitizer. `make sanitize` runs the same with large numbers.
"""

import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "fuzz"))
from harnesses import ADDRESS, FUZZERS, THREAD, make, run

from support.programs import export_tiny

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ here (Debian: g++)")


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    path = tmp_path_factory.mktemp("program") / "tiny.pte"
    export_tiny(path)
    return path


def test_hostile_input_under_address_and_undefined_behaviour_sanitizers(tmp_path, program):
    runtime = make(tmp_path, ADDRESS, "memory_lookup_hostile_test", *FUZZERS)
    assert "hostile input: tested" in run(tmp_path / "kernels" / "tests" / "memory_lookup_hostile_test")
    assert "1000 inputs" in run(runtime / "spartan_api_fuzz", program, "--count", 1000)
    assert "20000 inputs" in run(runtime / "spartan_files_fuzz", program, "--count", 20000)
    assert "20000 inputs" in run(runtime / "spartan_lines_fuzz", "--count", 20000)


@pytest.mark.skipif(shutil.which("setarch") is None, reason="no setarch here, and TSan needs fixed addresses")
def test_sessions_of_several_threads_under_the_thread_sanitizer(tmp_path, program):
    """ExecuTorch's own libraries are not instrumented, so what they do among themselves is not judged."""
    runtime = make(tmp_path, THREAD, "spartan_threads_test")
    assert "0 wrong" in run("setarch", "-R", runtime / "spartan_threads_test", program, 4, 2)
