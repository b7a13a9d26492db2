"""What a bundle would take on boards that are not at hand: estimates, and never more than that.

A roofline: every operator takes at least its multiply-adds over the cores' peak, and at least its bytes over the
memory's bandwidth. Weights come from memory; activations too where they do not fit into the second-level cache.
Overheads, threads that wait and a processor that gets hot are left out, so a real board is slower.

The inner loops of the memory kernels are estimated apart, by llvm-mca on the very code that goes to the board.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from spartanc.base.schemes.catalogue import find_scheme
from spartanc.base.schemes.none import NONE
from spartanc.base.targets.catalogue import all_targets
from spartanc.base.targets.target import Target
from spartanc.errors import MissingToolError
from spartanc.runtime_py.build import OPERATORS, build_runtime

_MCA, _OBJDUMP = "llvm-mca", "llvm-objdump"
_ITERATIONS = 200
_LEAST_MULTIPLY_ADDS = 4
_FUNCTION = re.compile(r"^([0-9a-f]+) <(.+)>:$")
_LINE = re.compile(r"^\s*([0-9a-f]+):\s+(.+)$")
_BACKWARDS = re.compile(r"^(?:b\.\w+|cbn?z|tbn?z)\s.*?(?:0x)?([0-9a-f]+) <")
_MULTIPLY_ADD = re.compile(r"^(fmla|fmls|mla|[su]dot)\s+v\d+\.(\d+)[a-z]")
_TOTAL_CYCLES = re.compile(r"Total Cycles:\s+(\d+)")


def estimates(
    costs: Sequence[Mapping[str, Any]], length: int, quantization: str, threads: int | None = None
) -> list[dict[str, Any]]:
    """One row for every board: `target`, `title`, `estimated_ms`, `bound_by` (arithmetic or memory), `threads`."""
    return [estimate(costs, target, length, quantization, threads) for target in all_targets() if not target.is_host]


def estimate(
    costs: Sequence[Mapping[str, Any]], target: Target, length: int, quantization: str, threads: int | None = None
) -> dict[str, Any]:
    """The least time that `target` can take for one input of `length` tokens."""
    cores = min(threads or target.cores, target.cores)
    seconds = {"arithmetic": 0.0, "memory": 0.0}
    for cost in costs:
        form = find_scheme(quantization) if cost["weight_bytes"] > 0 else NONE
        peak = target.peak_macs_per_cycle[form.peak] * target.clock_mhz * 1e6 * cores
        arithmetic = polynomial(cost["macs"], length) / peak
        moved = cost["weight_bytes"] / form.fp32_weights_in_one
        activations = polynomial(cost["activation_bytes"], length)
        if activations / max(cost["calls"], 1) > target.cache.l2:
            moved += activations
        memory = moved / (target.memory_gb_per_s * 1e9)
        seconds["arithmetic" if arithmetic >= memory else "memory"] += max(arithmetic, memory)
    return {
        "target": target.name,
        "title": target.title,
        "threads": cores,
        "length": length,
        "estimated_ms": sum(seconds.values()) * 1000,
        "bound_by": max(seconds, key=lambda name: seconds[name]),
    }


def polynomial(coefficients: Sequence[float], length: int) -> float:
    return sum(coefficient * length**power for power, coefficient in enumerate(coefficients))


def memory_kernel_loops(target: Target) -> list[dict[str, Any]]:
    """The inner loops of the memory kernels, by llvm-mca for the target's processor.

    Each row: `function`, `instructions`, `multiply_adds` (lanes counted), `cycles` an iteration,
    `multiply_adds_per_cycle`. Raises MissingToolError where LLVM's tools or the target's runtime are missing.
    """
    if target.mca_cpu is None:
        raise MissingToolError(f"llvm-mca has no model for `{target.name}`")
    for tool in (_MCA, _OBJDUMP):
        if shutil.which(tool) is None:
            raise MissingToolError(f"`{tool}` is missing", hint="apt-get install llvm")
    rows = []
    for function, body in _inner_loops(build_runtime(target) / OPERATORS):
        multiply_adds = sum(map(_multiply_adds, body))
        cycles = _cycles(body, target.mca_cpu)
        rows.append(
            {
                "function": function,
                "instructions": len(body),
                "multiply_adds": multiply_adds,
                "cycles": cycles,
                "multiply_adds_per_cycle": multiply_adds / cycles,
            }
        )
    return rows


def _inner_loops(library: Path) -> list[tuple[str, list[str]]]:
    """Straight runs of code that branch back to their own start and multiply."""
    listing = subprocess.run(
        [_OBJDUMP, "-d", "--no-show-raw-insn", "--demangle", str(library)], capture_output=True, text=True, check=True
    ).stdout
    found: list[tuple[str, list[str]]] = []
    function = ""
    lines: list[tuple[int, str]] = []
    for text in listing.splitlines():
        if start := _FUNCTION.match(text):
            function, lines = start[2], []
            continue
        if not (line := _LINE.match(text)):
            continue
        address, instruction = int(line[1], 16), re.sub(r"\s+", " ", line[2]).strip()
        branch = _BACKWARDS.match(instruction)
        if branch is None:
            lines.append((address, instruction))
            continue
        target = int(branch[1], 16)
        body = [each for where, each in lines if where >= target]
        whole = lines and lines[0][0] <= target <= address
        if whole and sum(_multiply_adds(each) > 0 for each in body) >= _LEAST_MULTIPLY_ADDS:
            found.append((function, body))
        lines = []
    return found


def _multiply_adds(instruction: str) -> int:
    """Of all lanes; a dot product does four in each."""
    match = _MULTIPLY_ADD.match(instruction)
    if match is None:
        return 0
    return int(match[2]) * (4 if match[1] in ("sdot", "udot") else 1)


def _cycles(body: Sequence[str], cpu: str) -> float:
    done = subprocess.run(
        [_MCA, "-mtriple=aarch64-linux-gnu", f"-mcpu={cpu}", f"-iterations={_ITERATIONS}"],
        input="\n".join(body),
        capture_output=True,
        text=True,
    )
    total = _TOTAL_CYCLES.search(done.stdout)
    if done.returncode != 0 or total is None:
        raise MissingToolError(f"llvm-mca could not read a loop: {done.stderr.strip()[:200]}")
    return int(total[1]) / _ITERATIONS
