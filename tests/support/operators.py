"""Programs that use our operators, run by ExecuTorch's Python runtime in a process of their own."""

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
