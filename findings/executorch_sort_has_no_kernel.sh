#!/usr/bin/env bash
# executorch 1.5.1 (wheel, portable Python runtime), torch 2.13.0.
#
# Behaviour: a module that calls torch.sort is exported, lowered to edge and emitted without a warning; the runtime then
# refuses to load its method, since the wheel has no kernel of aten::sort.
# One would guess: that lowering says so, as it does for operators that are not core ATen.
# Where it matters: choosing an operator for a portable program. A rank by comparisons, or topk, runs.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0 executorch==1.5.1 torchao==0.18.0 numpy==2.4.6
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import importlib.metadata

import torch
from executorch.exir import to_edge
from executorch.runtime import Runtime


class Sort(torch.nn.Module):
    def forward(self, x):
        return torch.sort(x, stable=True, descending=True).values + 0


exported = torch.export.export(Sort(), (torch.zeros(4, 8),))
program = to_edge(exported).to_executorch().buffer
print("executorch", importlib.metadata.version("executorch"), "torch", torch.__version__)
print(f"lowered: {len(program)} bytes")
try:
    Runtime.get().load_program(program).load_method("forward").execute([torch.randn(4, 8)])
except RuntimeError as error:
    print("the runtime:", str(error).splitlines()[0])
else:
    raise SystemExit("the behaviour has changed: the program runs")
PYTHON
