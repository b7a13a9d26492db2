"""The C++ harnesses under sanitizers: builds them, runs them, prints what they ran as one line each.

    python tests/fuzz/harnesses.py [--count 100000] [--seed 2026] [--seconds 60]

With g++, which has no libFuzzer, our own driver gives the fuzzers `--count` inputs: the same ones from the same
seed on every machine, which is what CI takes. With clang++ (Debian: clang, libclang-rt-14-dev) they are libFuzzer's as
well, choose inputs by what those reach, and run for `--seconds` each; they start from nothing and keep no corpus.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

NATIVE = Path(__file__).parents[2] / "runtime_py" / "native"
ADDRESS = "-fsanitize=address,undefined -fno-sanitize-recover=all"
THREAD = "-fsanitize=thread"
FUZZERS = ("spartan_api_fuzz", "spartan_files_fuzz", "spartan_lines_fuzz")
# ExecuTorch keeps what it registered until the process ends.
ENVIRONMENT = {"ASAN_OPTIONS": "detect_leaks=0", "UBSAN_OPTIONS": "print_stacktrace=1"}


def make(directory: Path, flags: str, *targets: str, compiler: str = "g++", options: tuple[str, ...] = ()) -> Path:
    """The folder of `targets`, built with `flags`. AssertionError with the compiler's words where that fails."""
    from spartanc.runtime_py import build

    cmake = build._tool("cmake")
    configure = [
        cmake, "-S", NATIVE, "-B", directory, "-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={build._tool('ninja')}",
        f"-Dexecutorch_DIR={build._installed_executorch() / 'lib' / 'cmake' / 'executorch'}",
        "-DCMAKE_BUILD_TYPE=None", "-DSPARTAN_TESTS=ON", f"-DCMAKE_CXX_FLAGS=-O1 -g1 {flags}",
        f"-DCMAKE_CXX_COMPILER={compiler}", *options,
    ]  # fmt: skip
    for command in (configure, [cmake, "--build", directory, "--target", *targets]):
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return directory / "runtime"


def run(*command: object, **environment: str) -> str:
    """What the harness printed. AssertionError with the sanitizer's words where it found anything."""
    variables = os.environ | ENVIRONMENT | environment
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, errors="replace", env=variables)
    assert done.returncode == 0, (done.stdout + done.stderr)[-5000:]
    return done.stdout + done.stderr


def serve(runtime: Path, program: Path, folder: Path, count: int, seed: int) -> str:
    """`spartan serve` in `runtime` gets `count` altered lines; AssertionError unless it answers each and ends well."""
    import numpy as np

    from support.bundles import make_bundle
    from support.mutations import mutate_bytes
    from support.service import Client, served

    sound = b'{"id":7,"input_ids":[1,2,3,49]}', b'{"id":"\xc3\xa9","ask":"status"}'
    generator = np.random.default_rng(seed)
    answered = 0
    with served("native", runtime, make_bundle(folder / "bundle", program), folder / "socket", **ENVIRONMENT) as server:
        with Client(server.path) as client:
            for number in range(count):
                line = mutate_bytes(sound[number % 2], generator).replace(b"\n", b" ")
                answered += "error" not in client.ask_line(line)
        assert server.stop() == 0
    return f"{count} lines of seed {seed}, {answered} of them requests"


def main() -> None:
    from spartanc.base.quiet import hush

    hush()
    from support.programs import export_tiny

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--seconds", type=int, default=60)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="spartanc-fuzz-") as scratch:
        folder = Path(scratch)
        program = folder / "tiny.pte"
        export_tiny(program)
        kernels = ("memory_lookup_hostile_test", "memory_lookup_f32_test", "memory_lookup_quantized_test")
        address = make(folder / "address", ADDRESS, *kernels, *FUZZERS, "spartan_command")
        for kernel in kernels:
            run(folder / "address" / "kernels" / "tests" / kernel, "--share", 5)
            print(f"{kernel}: ASan, UBSan", flush=True)
        for harness in FUZZERS:
            said = run(address / harness, program, "--count", given.count, "--seed", given.seed).strip()
            print(f"{harness}: ASan, UBSan, own driver, {said}", flush=True)
        said = serve(address, program, folder, given.count // 10, given.seed)
        print(f"spartan serve: ASan, UBSan, {said}", flush=True)
        thread = make(folder / "thread", THREAD, "spartan_threads_test")
        said = run("setarch", "-R", thread / "spartan_threads_test", program, 16, 60).strip()
        print(f"spartan_threads_test: TSan, {said}", flush=True)
        if shutil.which("clang++") is None:
            print("libFuzzer: skipped, no clang++ here (Debian: clang)")
            return
        options = ("-DSPARTAN_LIBFUZZER=ON",)
        built = make(folder / "libfuzzer", ADDRESS, *FUZZERS, compiler="clang++", options=options)
        for harness in FUZZERS:
            words = [f"-max_total_time={given.seconds}", f"-seed={given.seed}", f"-artifact_prefix={folder}/"]
            # Wall-clock seconds: ten would blame inputs for a machine that stood still.
            words += ["-max_len=600", "-len_control=0", "-timeout=60", "-report_slow_units=60"]
            said = run(built / harness, *words, SPARTAN_FUZZ_FILE=str(program)).strip().splitlines()[-1]
            print(f"{harness}: ASan, UBSan, libFuzzer, seed {given.seed}, {said}", flush=True)


if __name__ == "__main__":
    main()
