#!/usr/bin/env bash
# executorch 1.5.1 (wheel, portable Python runtime), torch 2.13.0 on a CPU.
#
# Behaviour: torch.topk(4) of 16 equal values gives other indices in eager PyTorch than in the ExecuTorch program of the
# same module. Both are allowed: torch does not say which of equal values is chosen.
# One would guess: the same indices, or the lowest ones.
# Where it matters: a router or a sparse memory with equal logits (untrained, copied or zero rows) chooses other experts
# on the device than in training. State a rule and write it out.
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


class TopK(torch.nn.Module):
    def forward(self, x):
        values, indices = torch.topk(x, 4)
        return values + 0, indices + 0


exported = torch.export.export(TopK(), (torch.zeros(1, 16),))
method = Runtime.get().load_program(to_edge(exported).to_executorch().buffer).load_method("forward")
eager = TopK()(torch.zeros(1, 16))[1].tolist()
program = method.execute([torch.zeros(1, 16)])[1].tolist()
print("executorch", importlib.metadata.version("executorch"), "torch", torch.__version__)
print("eager", eager, "ExecuTorch", program)
raise SystemExit(0 if eager != program else "the behaviour has changed: the indices are equal")
PYTHON
