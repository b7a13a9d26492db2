#!/bin/sh
# ExecuTorch 1.5.1: its XNNPACK partitioner can make two pieces that each need a result of the other, and lowering a
# valid program then ends with "Invalid partition, found dependency cycles".
#
# Guessed: whatever the partitioner proposes can be lowered; two pieces are joined only if all pieces can still run one
# after another.
# Seen: GroupBasedPartitioner joins two pieces if no path leads out of the joint piece and back, through operators one by
# one. That a path may lead through another piece, which runs as a whole, is not looked at (torch's own
# CapabilityBasedPartitioner does). Linears that share one dynamic quantisation of their input form a group, which is
# taken as early as its last member and reaches back to the first; so an operator after it can land in a piece with one
# before it. Each of the two linears alone is lowered; fp32 is lowered.
# Matters for int8 models with operators outside XNNPACK between the projections of one input: rotary positions
# (Nomic-BERT), disentangled attention (DeBERTa).
#
# Output seen (x86-64, torch 2.13.0+cpu, executorch 1.5.1):
#   fp32: lowered
#   int8, one linear: lowered
#   int8, two linears of one input: AssertionError: Invalid partition, found dependency cycles
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
from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import XNNPACKQuantizer, get_symmetric_quantization_config
from executorch.exir import to_edge_transform_and_lower
from torch import nn
from torch.export import export
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

print("torch", torch.__version__, "executorch", importlib.metadata.version("executorch"))


class Model(nn.Module):
    """`cumsum` is none of XNNPACK's. Pieces that come out: {neg, late * 2} and {both linears, early * 2}."""

    def __init__(self, linears):
        super().__init__()
        self.first, self.last = nn.Linear(8, 8), nn.Linear(8, 8) if linears == 2 else None

    def forward(self, x):
        early = (-x).cumsum(-1) * 2
        late = self.first(x).cumsum(-1) * 2
        return (early, late) if self.last is None else (early, late, self.last(x))


def refused(what, linears, quantized):
    inputs = (torch.randn(1, 4, 8),)
    module = export(Model(linears).eval(), inputs).module()
    if quantized:
        scheme = get_symmetric_quantization_config(is_dynamic=True, is_per_channel=True)
        module = prepare_pt2e(module, XNNPACKQuantizer().set_global(scheme))
        module(*inputs)
        module = convert_pt2e(module)
    try:
        to_edge_transform_and_lower(export(module, inputs), partitioner=[XnnpackPartitioner()])
    except AssertionError as error:
        print(f"{what}: AssertionError: {error}")
        return "dependency cycles" in str(error)
    print(f"{what}: lowered")
    return False


sound = not refused("fp32", 2, False) and not refused("int8, one linear", 1, True)
sys.exit(0 if sound and refused("int8, two linears of one input", 2, True) else 1)
PYTHON
