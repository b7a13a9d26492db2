"""How near the kernels' hot loops come to an Arm core's multiply-add peak, by llvm-mca: an estimate, not a measurement.

    python benchmarks/arm_loops.py [--cpu cortex-a72] [--json]

Compiles the NEON kernels with the cross compiler (Debian: g++-aarch64-linux-gnu, llvm), takes every innermost loop
that multiplies and adds, and gives cycles an iteration and the share of the peak of one 128-bit multiply-add a
cycle (8 FLOP, what a Cortex-A72 can do; llvm's model of it is the Cortex-A57's). Loads are taken to hit L1.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import spartanc.runtime_py.build as build

KERNELS = build.NATIVE_SOURCES / "kernels"
FLAGS = ["-std=c++17", "-O3", "-ffp-contract=off", "-fno-math-errno", "-fno-exceptions", "-fno-rtti"]
ITERATIONS = 1000


def innermost_loops(assembly: str) -> list[tuple[str, list[str]]]:
    """(function, instructions) of every loop without a label inside."""
    lines = assembly.splitlines()
    labels: dict[str, tuple[int, str]] = {}
    function, loops = "", []
    for i, line in enumerate(lines):
        if named := re.match(r"^(_Z\w+):", line):
            function = named[1]
        if label := re.match(r"^(\.L\d+):", line):
            labels[label[1]] = (i, function)
        if branch := re.match(r"^\s+b\S*\s+(\.L\d+)", line):
            start, owner = labels.get(branch[1], (i, ""))
            body = lines[start + 1 : i + 1]
            if owner == function and body and not any(b.startswith(".L") for b in body):
                loops.append((function, [b for b in body if not b.strip().startswith(".")]))
    return loops


def cycles(body: list[str], cpu: str) -> float:
    command = ["llvm-mca", "-mtriple=aarch64", f"-mcpu={cpu}", f"-iterations={ITERATIONS}"]
    done = subprocess.run(command, input="\n".join(body), capture_output=True, text=True, check=True)
    total = re.search(r"Total Cycles:\s+(\d+)", done.stdout)
    assert total is not None, done.stdout
    return int(total[1]) / ITERATIONS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cpu", default="cortex-a72")
    parser.add_argument("--compiler", default="aarch64-linux-gnu-g++")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        assembly = Path(directory, "neon.s")
        source = KERNELS / "memory_lookup" / "f32_neon.cc"
        includes = [f"-I{KERNELS}", f"-I{KERNELS / 'include'}"]
        subprocess.run([arguments.compiler, *FLAGS, *includes, "-S", source, "-o", assembly], check=True)
        loops = innermost_loops(assembly.read_text())
    rows = []
    for function, body in loops:
        multiplies = sum("fmla" in line for line in body)
        if multiplies >= 16:  # the main tiles; narrower ones serve the last rows
            name = re.sub(r"^_ZN\d+spartan\d+_GLOBAL__N_1(\d+)", "", function)
            length = int(re.search(r"_GLOBAL__N_1(\d+)", function)[1])
            spent = cycles(body, arguments.cpu)
            rows.append(
                {"loop": name[:length], "multiply_adds": multiplies, "cycles": spent, "peak": multiplies / spent}
            )
    rows.sort(key=lambda row: (row["loop"], -row["multiply_adds"]))
    if arguments.json:
        print(json.dumps({"cpu": arguments.cpu, "estimate": "llvm-mca", "loops": rows}, indent=2))
        return
    print(f"{arguments.cpu}, estimated by llvm-mca", file=sys.stderr)
    print(f"{'loop':<20}{'128-bit multiply-adds':>22}{'cycles':>9}{'of peak':>9}")
    for row in rows:
        print(f"{row['loop']:<20}{row['multiply_adds']:>22}{row['cycles']:>9.1f}{row['peak']:>9.0%}")


if __name__ == "__main__":
    main()
