"""Programs run by ExecuTorch's Python runtime in a process of their own."""

import subprocess
import sys
from pathlib import Path

import torch

# The operators are registered by loading the library, once a process: a fresh one keeps this process clean.
RUNNER = """
import ctypes, json, sys, torch
from executorch.extension.pybindings import portable_lib
from spartanc.runtime_py.build import OPERATORS, build_runtime
ctypes.CDLL(str(build_runtime("host") / OPERATORS))
program = portable_lib._load_for_executorch(sys.argv[1])
answers = []
for inputs in torch.load(sys.argv[2], weights_only=True):
    try:
        answers.append([output.tolist() for output in program.forward(tuple(inputs))])
    except RuntimeError as error:
        answers.append(str(error))
print(json.dumps(answers))
"""

# With ExecuTorch's own operators only.
_PLAIN_RUNNER = """
import sys, torch
from executorch.extension.pybindings import portable_lib
program = portable_lib._load_for_executorch(sys.argv[1])
torch.save(program.forward(tuple(torch.load(sys.argv[2], weights_only=True))), sys.argv[3])
"""


def run_program(program: bytes, inputs: tuple[torch.Tensor, ...], directory: Path) -> list[torch.Tensor]:
    """What a `.pte` of ExecuTorch's own operators gives. AssertionError with its words where it fails."""
    files = [directory / name for name in ("model.pte", "inputs.pt", "outputs.pt")]
    files[0].write_bytes(program)
    torch.save(inputs, files[1])
    done = subprocess.run([sys.executable, "-c", _PLAIN_RUNNER, *files], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return torch.load(files[2], weights_only=True)
