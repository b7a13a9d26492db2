"""Module level: 12 memories against the adapters they replace, as one ExecuTorch program each, run in turns.

    python benchmarks/memory.py [--json] [--repeats N] [--threads N] [--positions N] [--only PROGRAM ...]

Every program maps x [1, positions, 768] through 12 layers' worth of modules, residuals included:

    memory            12 lookups (E=16 parents, M=48 cells, K=8); cells in fp32, int8 or int4; this project's kernels
    houlsby-48, -64   24 adapters (two a layer) of that bottleneck: down, GELU, up, with biases, as XNNPACK linears
    pfeiffer-48, -64  12 adapters (one a layer)

in fp32 and in int8 (XNNPACK: dynamic, per channel). A round runs every program once, in an order that changes, so
that whatever else the machine does falls on all of them; ratios are of medians, throughput of ours over theirs.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
    XNNPACKQuantizer,
    get_symmetric_quantization_config,
)
from executorch.exir import EdgeCompileConfig, ExecutorchBackendConfig, to_edge_transform_and_lower
from executorch.extension.pybindings import portable_lib
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

import spartanc.passes.ops.memory_lookup  # noqa: F401  (defines the operator)
from spartanc.passes.ops.packing import INT4_GROUP, PackedMemory, QuantizedMemory, pack_int4, pack_int8, pack_memory
from spartanc.runtime_py.build import OPERATORS, build_runtime

LAYERS, HIDDEN, PARENTS, CELLS, TOP_K, TEMPERATURE = 12, 768, 16, 48, 8, 1.6

OURS = {"memory": "fp32", "memory_int8": "int8", "memory_int4": "int4"}


class Memories(torch.nn.Module):
    """One memory a layer, packed for the kernels, each with its residual. cells: "fp32", "int8" or "int4"."""

    def __init__(self, cells: str) -> None:
        super().__init__()
        self.cells = cells
        for layer in range(LAYERS):
            memory = _packed_memory(cells)
            self.fields = [name for name, tensor in memory._asdict().items() if tensor is not None]
            for name in self.fields:
                self.register_buffer(f"{name}_{layer}", getattr(memory, name))

    def forward(self, x):
        operator = torch.ops.spartan.memory_lookup
        for i in range(LAYERS):
            tensors = [self.get_buffer(f"{name}_{i}") for name in self.fields]
            if self.cells == "fp32":
                layout, weights, values = tensors
                x = operator.packed(x, layout, weights, None, values, None, None, 1e-5, True)
            elif self.cells == "int8":
                x = operator.int8(x, *tensors, None, None, 1e-5, True)
            else:
                x = operator.int4(x, *tensors, INT4_GROUP, None, None, 1e-5, True)
        return x


class Adapter(torch.nn.Module):
    def __init__(self, bottleneck: int) -> None:
        super().__init__()
        self.down, self.up = torch.nn.Linear(HIDDEN, bottleneck), torch.nn.Linear(bottleneck, HIDDEN)

    def forward(self, x):
        return x + self.up(torch.nn.functional.gelu(self.down(x)))


def _packed_memory(cells: str) -> PackedMemory | QuantizedMemory:
    parents, keys, values = (torch.randn(n, HIDDEN) * HIDDEN**-0.5 for n in (PARENTS, CELLS, CELLS))
    if cells == "fp32":
        return pack_memory(parents, keys, values, TOP_K, TEMPERATURE)
    quantized: list[torch.Tensor] = []
    for tensor in (keys, values):
        groups = tensor.unflatten(1, (-1, HIDDEN if cells == "int8" else INT4_GROUP))
        scale = groups.abs().amax(2, keepdim=True) / (127 if cells == "int8" else 7)
        quantized += [(groups / scale).round().flatten(1), scale.squeeze(2)]
    return (pack_int8 if cells == "int8" else pack_int4)(parents, *quantized, TOP_K, TEMPERATURE)


def lower(module: torch.nn.Module, x: torch.Tensor, *, int8: bool = False) -> tuple[bytes, int]:
    """The program's bytes and how many delegates it holds."""
    with torch.no_grad():
        program = torch.export.export(module.eval(), (x,))
        if int8:
            quantizer = XNNPACKQuantizer().set_global(
                get_symmetric_quantization_config(is_per_channel=True, is_dynamic=True)
            )
            prepared = prepare_pt2e(program.module(), quantizer)
            prepared(x)
            program = torch.export.export(convert_pt2e(prepared), (x,))
    edge = to_edge_transform_and_lower(
        program, partitioner=[XnnpackPartitioner()], compile_config=EdgeCompileConfig(_check_ir_validity=False)
    )
    delegates = sum("executorch_call_delegate" in str(n.target) for n in edge.exported_program().graph.nodes)
    return edge.to_executorch(ExecutorchBackendConfig(constant_tensor_alignment=64)).buffer, delegates


def programs(x: torch.Tensor, only: list[str]) -> tuple[dict[str, bytes], dict[str, int]]:
    torch.manual_seed(0)
    modules: dict[str, tuple[torch.nn.Module, bool]] = {name: (Memories(cells), False) for name, cells in OURS.items()}
    for bottleneck in (48, 64):
        houlsby = torch.nn.Sequential(*(Adapter(bottleneck) for _ in range(2 * LAYERS)))
        pfeiffer = torch.nn.Sequential(*(Adapter(bottleneck) for _ in range(LAYERS)))
        for name, module in (("houlsby", houlsby), ("pfeiffer", pfeiffer)):
            modules[f"{name}_{bottleneck}"] = (module, False)
            modules[f"{name}_{bottleneck}_int8"] = (module, True)
    lowered = {}
    for name, (module, int8) in modules.items():
        if only and name not in only:
            continue
        print(f"lowering {name}", file=sys.stderr)
        lowered[name] = lower(module, x, int8=int8)
    return {n: buffer for n, (buffer, _) in lowered.items()}, {n: delegates for n, (_, delegates) in lowered.items()}


def measure(buffers: dict[str, bytes], x: torch.Tensor, repeats: int) -> dict[str, list[float]]:
    """Milliseconds of every run, by program."""
    loaded = {}
    with tempfile.TemporaryDirectory() as directory:
        for name, buffer in buffers.items():  # from files, which keep the alignment of the constants
            path = Path(directory, f"{name}.pte")
            path.write_bytes(buffer)
            loaded[name] = portable_lib._load_for_executorch(str(path))
    for program in loaded.values():
        for _ in range(3):
            program.forward((x,))
    order = list(loaded)
    shuffle = random.Random(0).shuffle
    times: dict[str, list[float]] = {name: [] for name in loaded}
    for _ in range(repeats):
        shuffle(order)
        for name in order:
            start = time.perf_counter()
            loaded[name].forward((x,))
            times[name].append((time.perf_counter() - start) * 1e3)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    parser.add_argument("--repeats", type=int, default=300)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--positions", type=int, default=128)
    parser.add_argument("--only", nargs="+", default=[], metavar="PROGRAM", help="these programs, not all")
    arguments = parser.parse_args()

    ctypes.CDLL(str(build_runtime("host") / OPERATORS))
    portable_lib._unsafe_reset_threadpool(arguments.threads)
    x = torch.randn(1, arguments.positions, HIDDEN)
    buffers, delegates = programs(x, arguments.only)
    times = measure(buffers, x, arguments.repeats)
    medians = {name: statistics.median(t) for name, t in times.items()}
    best = {name: min(t) for name, t in times.items()}
    p95 = {name: statistics.quantiles(t, n=20)[18] for name, t in times.items()}

    pairs = {
        f"{short}_vs_{rival}": (mine, rival)
        for mine, short in OURS.items()
        if mine in times
        for rival in times
        if rival not in OURS
    }
    result = {
        "ratios": {name: medians[rival] / medians[mine] for name, (mine, rival) in pairs.items()},
        "ratios_of_best": {name: best[rival] / best[mine] for name, (mine, rival) in pairs.items()},
        "medians_ms": medians,
        "p95_ms": p95,
        "best_ms": best,
        "delegates": delegates,
        "settings": {
            "layers": LAYERS, "hidden": HIDDEN, "parents": PARENTS, "cells": CELLS, "top_k": TOP_K,
            "positions": arguments.positions, "threads": arguments.threads, "repeats": arguments.repeats,
        },
    }  # fmt: skip
    if arguments.json:
        print(json.dumps(result, indent=2))
        return
    print(f"{'program':<18}{'median ms':>10}{'p95 ms':>10}{'best ms':>10}{'delegates':>11}")
    for name in times:
        print(f"{name:<18}{medians[name]:>10.3f}{p95[name]:>10.3f}{best[name]:>10.3f}{delegates[name]:>11}")
    print(f"\n{'throughput of ours over theirs':<34}{'medians':>9}{'best':>9}")
    for name in pairs:
        print(f"{name:<34}{result['ratios'][name]:>9.2f}{result['ratios_of_best'][name]:>9.2f}")


if __name__ == "__main__":
    main()
