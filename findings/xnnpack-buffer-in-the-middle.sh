#!/bin/sh
# ExecuTorch 1.5.1: a buffer that is a part of another tensor is lowered to XNNPACK as that tensor's beginning. The
# program runs, and its numbers are wrong without a word.
#
# Guessed: what torch.export holds as a constant is written down as it is; a slice is a tensor like any other.
# Seen: `register_buffer("part", whole[4:])`, or the same as a plain attribute, gives a linear the first rows of `whole`.
# As a parameter, as a clone, or without XNNPACK the numbers are right.
# Matters where weights are split: a packed projection taken apart into queries, keys and values, a table cut to the
# positions in use. Nothing fails but accuracy.
#
# Output seen (x86-64, torch 2.13.0+cpu, executorch 1.5.1; eager gives 284 348 412 476):
#   parameter: 284 348 412 476
#   buffer: 28 92 156 220
#   attribute: 28 92 156 220
#   buffer, cloned: 284 348 412 476
#   buffer, without XNNPACK: 284 348 412 476
#
# Exit 0: as described. Exit 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0
"$folder/venv/bin/pip" install -q executorch==1.5.1
"$folder/venv/bin/python" -W ignore - 2>"$folder/log" <<'PYTHON' || { status=$?; tail -n 5 "$folder/log" >&2; exit $status; }
import importlib.metadata
import sys

import torch
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from executorch.exir import to_edge_transform_and_lower
from executorch.runtime import Runtime
from torch import nn
from torch.export import export

print("torch", torch.__version__, "executorch", importlib.metadata.version("executorch"))
X = torch.ones(1, 8)


class Model(nn.Module):
    def __init__(self, kind, cloned):
        super().__init__()
        part = torch.arange(64.0).reshape(8, 8)[4:]
        part = part.clone() if cloned else part
        if kind == "parameter":
            self.part = nn.Parameter(part, requires_grad=False)
        elif kind == "buffer":
            self.register_buffer("part", part)
        else:
            self.part = part

    def forward(self, x):
        return nn.functional.linear(x, self.part)


def is_right(what, kind, cloned=False, xnnpack=True):
    model = Model(kind, cloned).eval()
    lowered = to_edge_transform_and_lower(export(model, (X,)), partitioner=[XnnpackPartitioner()] if xnnpack else None)
    [found] = Runtime.get().load_program(lowered.to_executorch().buffer).load_method("forward").execute([X])
    print(f"{what}: {' '.join(f'{value:g}' for value in found[0].tolist())}")
    return torch.equal(found, model(X))


right = [
    is_right("parameter", "parameter"),
    not is_right("buffer", "buffer"),
    not is_right("attribute", "attribute"),
    is_right("buffer, cloned", "buffer", cloned=True),
    is_right("buffer, without XNNPACK", "buffer", xnnpack=False),
]
sys.exit(0 if all(right) else 1)
PYTHON
