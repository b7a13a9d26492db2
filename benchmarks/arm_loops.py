"""How near the kernels' hot loops come to an Arm core's multiply-add peak, by llvm-mca: an estimate, not a measurement.

    python benchmarks/arm_loops.py [--json]

Compiles every kernel for Arm as its build does (Debian: g++-aarch64-linux-gnu, llvm-19), takes every innermost loop
that multiplies and adds, and gives cycles an iteration, the share of the core's peak, and how many vectors it stores: a
product keeps its sums in registers, so a store is a sum that had no room there.

    f32_neon           cortex-a72    one 128-bit fmla a cycle: 4 multiply-adds
    quantized_neon     cortex-a72    one smull or smlal a cycle: 8 multiply-adds
    quantized_neondot  neoverse-n1   two sdot a cycle: 32 multiply-adds
    half_neonhalf      neoverse-n1   two fmla of eight a cycle: 16 multiply-adds

llvm's model of the Cortex-A72 is the Cortex-A57's; up to llvm 18 so is that of the Neoverse N1 (a Cortex-A76), which
decodes three instructions a cycle where the core decodes four: from llvm 19 on the model is its own. Loads are taken
to hit L1.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import cmake
import ninja

import spartanc.runtime_py.build as build

KERNELS = build.NATIVE_SOURCES / "kernels"
ITERATIONS = 1000
MAIN_TILE = 16  # multiplying instructions; narrower loops serve the last rows
_STORE = re.compile(r"^\s+st(?:r|p|ur|1)\s+(?:q\d|\{v\d)")


@dataclass(frozen=True)
class Core:
    """What multiplies in kernels of one kind, on the core they are for, and how many a cycle at most."""

    cpu: str
    multiplies: str
    peak: int


CORES = {  # by the end of a kernel's name, the longest that fits
    "neon": Core("cortex-a72", r"\b(fmla|sm(ul|la)l2?)\b", 1),
    "neondot": Core("neoverse-n1", r"\bsdot\b", 2),
    "neonhalf": Core("neoverse-n1", r"\b(sdot|fmla\s+v\d+\.8h)\b", 2),
}


@dataclass(frozen=True)
class Source:
    """A kernel's file, the command that compiles it, and its core."""

    file: Path
    command: list[str]
    core: Core

    @property
    def name(self) -> str:
        return f"{self.file.parent.name}/{self.file.stem}"


def sources(compiler: str) -> list[Source]:
    """Every kernel of an Arm instruction set, as CMake compiles it."""
    with tempfile.TemporaryDirectory() as directory:
        configure = [
            Path(cmake.CMAKE_BIN_DIR, "cmake"), "-S", KERNELS, "-B", directory, "-G", "Ninja",
            f"-DCMAKE_MAKE_PROGRAM={Path(ninja.BIN_DIR, 'ninja')}", "-DCMAKE_EXPORT_COMPILE_COMMANDS=ON",
            "-DCMAKE_SYSTEM_NAME=Linux", "-DCMAKE_SYSTEM_PROCESSOR=aarch64", f"-DCMAKE_CXX_COMPILER={compiler}",
        ]  # fmt: skip
        subprocess.run(list(map(str, configure)), check=True, capture_output=True)
        entries = json.loads(Path(directory, "compile_commands.json").read_text())
    found = []
    for entry in entries:
        file = Path(entry["file"])
        core = next((core for name, core in CORES.items() if file.stem.endswith(name)), None)
        if core is not None:
            words = entry["command"].split()
            found.append(Source(file, words[: words.index("-o")], core))
    return found


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
                loops.append((function, [b for b in body if not b.strip().startswith((".", "#"))]))
    return loops


def cycles(body: list[str], cpu: str) -> float:
    program = "llvm-mca-19" if shutil.which("llvm-mca-19") else "llvm-mca"
    command = [program, "-mtriple=aarch64", f"-mcpu={cpu}", f"-iterations={ITERATIONS}"]
    done = subprocess.run(command, input="\n".join(body), capture_output=True, text=True, check=True)
    total = re.search(r"Total Cycles:\s+(\d+)", done.stdout)
    assert total is not None, done.stdout
    return int(total[1]) / ITERATIONS


def products_of(source: Source) -> list[tuple[str, list[str], int]]:
    """(function, instructions, how many multiply) of every loop that is a tile of a product."""
    with tempfile.TemporaryDirectory() as directory:
        assembly = Path(directory, "kernels.s")
        subprocess.run([*source.command, "-S", source.file, "-o", assembly], check=True)
        loops = innermost_loops(assembly.read_text())
    counted = [
        (name, body, sum(bool(re.search(source.core.multiplies, line)) for line in body)) for name, body in loops
    ]
    return [each for each in counted if each[2] >= MAIN_TILE]


def short_name(function: str) -> str:
    """The last word of a function's name, without its arguments and those of templates."""
    bare = function.replace("(anonymous namespace)", "")
    while (inner := re.sub(r"<[^<>]*>", "", bare)) != bare:
        bare = inner
    return re.findall(r"(\w+)\s*\(", bare)[0]


def stores(body: list[str]) -> int:
    """Instructions that store vectors."""
    return sum(bool(_STORE.match(line)) for line in body)


def loops_of(source: Source) -> list[dict[str, str | int | float]]:
    rows = []
    for function, body, multiplies in products_of(source):
        plain = subprocess.run(["c++filt", function], capture_output=True, text=True, check=True).stdout
        name = short_name(plain)
        spent = cycles(body, source.core.cpu)
        share = multiplies / spent / source.core.peak
        rows.append(
            {"source": source.name, "cpu": source.core.cpu, "loop": name, "instructions": len(body),
             "multiplies": multiplies, "stores": stores(body), "cycles": spent, "peak": share}
        )  # fmt: skip
    return sorted(rows, key=lambda row: (row["loop"], -row["multiplies"]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--compiler", default="aarch64-linux-gnu-g++")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    rows = [row for source in sources(arguments.compiler) for row in loops_of(source)]
    if arguments.json:
        print(json.dumps({"estimate": "llvm-mca", "loops": rows}, indent=2))
        return
    print("estimated by llvm-mca", file=sys.stderr)
    print(
        f"{'source':<33}{'cpu':<13}{'loop':<18}{'instructions':>13}{'multiplies':>11}{'stores':>7}{'cycles':>8}"
        f"{'of peak':>9}"
    )
    for row in rows:
        print(
            f"{row['source']:<33}{row['cpu']:<13}{row['loop']:<18}{row['instructions']:>13}{row['multiplies']:>11}"
            f"{row['stores']:>7}{row['cycles']:>8.1f}{row['peak']:>9.0%}"
        )


if __name__ == "__main__":
    main()
