"""Growth: what a memory costs as it gets larger, and what it allocates on the way.

    python benchmarks/growth.py [--json] [--quick] [--quantize none|int8|int4] [--rounds N] [--threads N]

A sweep varies one size and keeps the others at H=768, 4 children a parent, K=8, 128 positions:

    cells      M from 48 to 4,096 at fixed K and children, so that the number of parents grows with M
    chosen     K from 1 to 16
    parents    E from 8 to 256 with 4 children each
    length     positions from 1 to 512

Beside each memory stands the parents' product alone, the one part whose work grows with M when K and children are
fixed: a linear of H inputs and E outputs in XNNPACK. Programs are measured in turns, medians of milliseconds.
`allocated_mb` is what the first run asks for beside its input and output: memory planned by ExecuTorch and growth of
the heap; `gathered_mb` is what copying the chosen cells for every position would take.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from executorch.exir._serialize._program import deserialize_pte_binary
from executorch.extension.pybindings import portable_lib
from turns import median, table

from spartanc.base.quiet import hush
from spartanc.base.schemes.catalogue import find_scheme
from spartanc.compiler.lower import lower
from spartanc.passes.fuse_memories import FuseMemories
from spartanc.passes.manager import check_order, run_passes
from spartanc.passes.memory_site import FormChoice
from spartanc.passes.ops import memory_lookup  # noqa: F401  (defines the operator)
from spartanc.passes.schemes.catalogue import passes_of
from spartanc.runtime_py.build import OPERATORS, build_runtime

TEMPERATURE = 1.6
MB = 1 << 20


@dataclass(frozen=True)
class Shape:
    cells: int = 48
    children: int = 4
    top_k: int = 8
    length: int = 128
    hidden: int = 768

    @property
    def parents(self) -> int:
        return self.cells // self.children

    @property
    def gathered_mb(self) -> float:
        """Keys and values of the chosen cells, copied for every position, in fp32."""
        return 2 * 4 * self.length * self.top_k * self.children * self.hidden / MB


def sweeps(quick: bool) -> Iterator[tuple[str, Shape]]:
    default = Shape()
    cells = (48, 512, 4096) if quick else (48, 128, 256, 512, 1024, 2048, 4096)
    yield from (("cells", replace(default, cells=cells_)) for cells_ in cells)
    chosen = (1, 8) if quick else (1, 2, 4, 8, 12)
    yield from (("chosen", replace(default, top_k=top_k)) for top_k in chosen)
    parents = (8, 64) if quick else (8, 16, 32, 64, 128, 256)
    yield from (("parents", replace(default, cells=4 * count)) for count in parents)
    lengths = (1, 128) if quick else (1, 16, 64, 128, 256, 512)
    yield from (("length", replace(default, length=length)) for length in lengths)


class OneMemory(torch.nn.Module):
    def __init__(self, shape: Shape):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        for name, rows in (("parents", shape.parents), ("keys", shape.cells), ("values", shape.cells)):
            tensor = torch.randn(rows, shape.hidden, generator=generator) * shape.hidden**-0.5
            self.register_buffer(name, tensor)
        self.top_k = shape.top_k

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        lookup = torch.ops.spartan.memory_lookup
        return x + lookup(x, self.parents, self.keys, self.values, self.top_k, TEMPERATURE)


def write_programs(shape: Shape, directory: Path, quantization: str) -> dict[str, Path]:
    """The memory, as `spartanc compile` packs it, and the parents' product alone."""
    x = torch.randn(1, shape.length, shape.hidden)
    with torch.no_grad():
        program = torch.export.export(OneMemory(shape).eval(), (x,)).run_decompositions({})
    passes = [passes_of(find_scheme(quantization)).memories(FormChoice())]
    program, _ = run_passes(program, passes, [], given=check_order([FuseMemories()]))
    product = torch.nn.Linear(shape.hidden, shape.parents, bias=False).eval()
    paths = {"memory": directory / "memory.pte", "product": directory / "product.pte"}
    paths["memory"].write_bytes(lower(program).program)
    with torch.no_grad():
        paths["product"].write_bytes(lower(torch.export.export(product, (x,))).program)
    return paths


class _MallocInfo(ctypes.Structure):
    _names = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
    _fields_ = tuple((name, ctypes.c_size_t) for name in _names.split())


def heap_mb() -> float:
    """What the process holds of malloc, in all of its arenas (glibc)."""
    read = ctypes.CDLL(None).mallinfo2
    read.restype = _MallocInfo
    info = read()
    return (info.uordblks + info.hblkhd) / MB


def planned_mb(program: bytes) -> float:
    """What ExecuTorch plans for a run, inputs and outputs included."""
    (plan,) = deserialize_pte_binary(program).program.execution_plan
    return sum(plan.non_const_buffer_sizes) / MB


def measure_shape(shape: Shape, quantization: str, rounds: int) -> dict[str, float]:
    x = torch.randn(1, shape.length, shape.hidden, generator=torch.Generator().manual_seed(0))
    with tempfile.TemporaryDirectory() as scratch:
        paths = write_programs(shape, Path(scratch), quantization)
        planned = planned_mb(paths["memory"].read_bytes())
        programs = {name: portable_lib._load_for_executorch(str(path)) for name, path in paths.items()}
    before = heap_mb()
    programs["memory"].forward((x,))  # the kernel's scratch stays with its threads
    allocated = planned - 2 * x.nbytes / MB + max(0.0, heap_mb() - before)
    for program in programs.values():
        for _ in range(5):
            program.forward((x,))
    times: dict[str, list[float]] = {name: [] for name in programs}
    order = list(programs)
    for _ in range(rounds):
        random.shuffle(order)
        for name in order:
            for _ in range(3):
                start = time.perf_counter()
                programs[name].forward((x,))
                times[name].append(1e3 * (time.perf_counter() - start))
    return {
        "memory_ms": median(times["memory"]),
        "product_ms": median(times["product"]),
        "allocated_mb": allocated,
        "gathered_mb": shape.gathered_mb,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    parser.add_argument("--quick", action="store_true", help="the ends of each sweep only")
    parser.add_argument("--quantize", choices=("none", "int8", "int4"), default="none")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    hush()

    ctypes.CDLL(str(build_runtime("host") / OPERATORS))
    portable_lib._unsafe_reset_threadpool(arguments.threads)
    measured: list[tuple[str, Shape, dict[str, float]]] = []
    known: dict[Shape, dict[str, float]] = {}
    for sweep, shape in sweeps(arguments.quick):
        if shape not in known:
            print(f"{sweep}: {shape}", file=sys.stderr)
            known[shape] = measure_shape(shape, arguments.quantize, arguments.rounds)
        measured.append((sweep, shape, known[shape]))

    cells = [(shape, row) for sweep, shape, row in measured if sweep == "cells"]
    (small, least), (large, most) = cells[0], cells[-1]
    grown = {name: most[f"{name}_ms"] - least[f"{name}_ms"] for name in ("memory", "product")}
    result = {
        "ratios": {
            f"memory_at_{large.cells}_over_{small.cells}": most["memory_ms"] / least["memory_ms"],
            f"growth_of_memory_over_growth_of_product_to_{large.cells}": grown["memory"] / grown["product"],
        },
        "medians_ms": {
            f"{sweep} {getattr(shape, {'chosen': 'top_k'}.get(sweep, sweep))}": row["memory_ms"]
            for sweep, shape, row in measured
        },
        "rows": [{"sweep": sweep, **asdict(shape), "parents": shape.parents, **row} for sweep, shape, row in measured],
        "settings": {"quantize": arguments.quantize, "threads": arguments.threads, "rounds": arguments.rounds},
    }
    if arguments.json:
        print(json.dumps(result, indent=2))
        return
    titles = [
        "sweep",
        "M",
        "E",
        "K",
        "positions",
        "memory, ms",
        "parents' product, ms",
        "allocated, MB",
        "gathered, MB",
    ]
    lines = [
        [
            sweep,
            *(str(value) for value in (shape.cells, shape.parents, shape.top_k, shape.length)),
            *(f"{row[name]:.3f}" for name in ("memory_ms", "product_ms")),
            *(f"{row[name]:.2f}" for name in ("allocated_mb", "gathered_mb")),
        ]
        for sweep, shape, row in measured
    ]
    print(table(titles, lines))
    for name, ratio in result["ratios"].items():
        print(f"{name}: {ratio:.2f}")


if __name__ == "__main__":
    main()
