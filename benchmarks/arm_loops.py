"""How near the kernels' hot loops come to an Arm core's multiply-add peak, by llvm-mca: an estimate, not a measurement.

    python benchmarks/arm_loops.py [--json]

Compiles the kernels with the cross compiler (Debian: g++-aarch64-linux-gnu, llvm), takes every innermost loop that
multiplies and adds, and gives cycles an iteration and the share of the core's peak:

    f32_neon           cortex-a72    one 128-bit fmla a cycle: 4 multiply-adds
    quantized_neon     cortex-a72    one smull or smlal a cycle: 8 multiply-adds
    quantized_neondot  neoverse-n1   two sdot a cycle: 32 multiply-adds

llvm's model of the Cortex-A72 is the Cortex-A57's; up to llvm 18 so is that of the Neoverse N1 (a Cortex-A76), which
decodes three instructions a cycle where the core decodes four: from llvm 19 on the model is its own. Loads are taken
to hit L1.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import spartanc.runtime_py.build as build

KERNELS = build.NATIVE_SOURCES / "kernels"
FLAGS = ["-std=c++17", "-O3", "-ffp-contract=off", "-fno-math-errno", "-fno-exceptions", "-fno-rtti"]
ITERATIONS = 1000
MAIN_TILE = 16  # multiplying instructions; narrower loops serve the last rows


@dataclass(frozen=True)
class Source:
    """A kernel file, the core that it is for, and what multiplies in it: instruction, and how many a cycle at most."""

    name: str
    cpu: str
    multiplies: str
    peak: int
    flags: tuple[str, ...] = ()


SOURCES = (
    Source("f32_neon", "cortex-a72", r"\bfmla\b", 1),
    Source("quantized_neon", "cortex-a72", r"\bsm(ul|la)l2?\b", 1),
    Source("quantized_neondot", "neoverse-n1", r"\bsdot\b", 2, ("-march=armv8.2-a+dotprod",)),
)


def innermost_loops(assembly: str) -> list[tuple[str, list[str]]]:
    """(function, instructions) of every loop without a label inside."""
    lines = assembly.splitlines()
    labels: dict[str, tuple[int, str]] = {}
    function, loops = "", []
    for i, line in enumerate(lines):
        if named := re.match(r"^(_Z[\w.]+):", line):
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


def loops_of(source: Source, compiler: str) -> list[dict[str, str | int | float]]:
    with tempfile.TemporaryDirectory() as directory:
        assembly = Path(directory, "kernels.s")
        file = KERNELS / "memory_lookup" / f"{source.name}.cc"
        includes = [f"-I{KERNELS}", f"-I{KERNELS / 'include'}"]
        subprocess.run([compiler, *FLAGS, *source.flags, *includes, "-S", file, "-o", assembly], check=True)
        loops = innermost_loops(assembly.read_text())
    rows = []
    for function, body in loops:
        multiplies = sum(bool(re.search(source.multiplies, line)) for line in body)
        if multiplies >= MAIN_TILE:
            plain = subprocess.run(["c++filt", function], capture_output=True, text=True, check=True).stdout
            name = re.findall(r"(\w+)(?:<[^>]*>)?\(", plain.replace("(anonymous namespace)", ""))[0]
            spent = cycles(body, source.cpu)
            share = multiplies / spent / source.peak
            rows.append(
                {"source": source.name, "cpu": source.cpu, "loop": name, "instructions": len(body),
                 "multiplies": multiplies, "cycles": spent, "peak": share}
            )  # fmt: skip
    return sorted(rows, key=lambda row: (row["loop"], -row["multiplies"]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--compiler", default="aarch64-linux-gnu-g++")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    rows = [row for source in SOURCES for row in loops_of(source, arguments.compiler)]
    if arguments.json:
        print(json.dumps({"estimate": "llvm-mca", "loops": rows}, indent=2))
        return
    print("estimated by llvm-mca", file=sys.stderr)
    print(f"{'source':<19}{'cpu':<13}{'loop':<20}{'instructions':>13}{'multiplies':>11}{'cycles':>8}{'of peak':>9}")
    for row in rows:
        print(
            f"{row['source']:<19}{row['cpu']:<13}{row['loop']:<20}{row['instructions']:>13}{row['multiplies']:>11}"
            f"{row['cycles']:>8.1f}{row['peak']:>9.0%}"
        )


if __name__ == "__main__":
    main()
