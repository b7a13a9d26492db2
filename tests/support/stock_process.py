"""Runs programs in a process that has the stock runtime and nothing of this project."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

_SCRIPT = """
import sys, torch
from safetensors.torch import load_file, save_file
inputs, outputs, *programs = sys.argv[1:]

def opened(path):
    if path.endswith(".pte"):
        from executorch.runtime import Runtime
        method = Runtime.get().load_program(path).load_method("forward")
        return lambda *args: method.execute(args)[0]
    return torch.jit.load(path)

given, results = load_file(inputs), {}
for program, path in enumerate(programs):
    forward, row = opened(path), 0
    while f"{program}.{row}.0" in given:
        count = sum(name.startswith(f"{program}.{row}.") for name in given)
        with torch.no_grad():
            args = [given[f"{program}.{row}.{i}"] for i in range(count)]
            results[f"{program}.{row}"] = forward(*args).clone()
        row += 1
save_file(results, outputs)
assert not any(name.split(".")[0] == "spartanc" for name in sys.modules)
assert not any(name.startswith("spartan::") for name in torch._C._dispatch_get_all_op_names())
"""

Rows = Sequence[Sequence[torch.Tensor]]


def run_on_stock_runtime(programs: Sequence[Path], rows: Sequence[Rows], scratch: Path) -> list[list[torch.Tensor]]:
    """For each program (`.pte` or `.ts`) its first output for each of its rows of inputs.

    Fails if anything of this project was loaded there.
    """
    inputs, outputs = scratch / "stock_inputs.safetensors", scratch / "stock_outputs.safetensors"
    named = {
        f"{program}.{row}.{i}": tensor.detach().contiguous()
        for program, its_rows in enumerate(rows)
        for row, args in enumerate(its_rows)
        for i, tensor in enumerate(args)
    }
    save_file(named, inputs)
    command = [sys.executable, "-c", _SCRIPT, str(inputs), str(outputs), *map(str, programs)]
    subprocess.run(command, check=True, timeout=300, cwd=scratch)
    results = load_file(outputs)
    return [[results[f"{program}.{row}"] for row in range(len(its_rows))] for program, its_rows in enumerate(rows)]
