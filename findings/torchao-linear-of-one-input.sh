#!/bin/sh
# torchao 0.18.0: a linear layer of one input can't be quantised by output channel; its block of one weight counts as the
# whole tensor.
#
# Guessed: choose_qparams_affine with block_size (1, K) gives a scale for each of a weight's N rows, whatever K is, and
# PerAxis(0) takes every nn.Linear.
# Seen: for K = 1 it gives a single scale for all rows, of no dimension. quantize_affine with the same block then can't
# use it, and quantize_ with IntxWeightOnlyConfig(granularity=PerAxis(0)) ends in a RuntimeError about a shape. K = 2
# gives N scales.
# Matters for models with a column of numbers as input, and for whoever takes block sizes from a weight's shape: the error
# names neither the layer nor the reason.
#
# Output seen (x86-64, torch 2.13.0+cpu, torchao 0.18.0):
#   [5, 2] in blocks of (1, 2): scales [5]
#   [5, 1] in blocks of (1, 1): scales []
#   quantize_affine: RuntimeError: shape '[5, 1]' is invalid for input of size 1
#   quantize_, PerAxis(0): RuntimeError: shape '[5, 1]' is invalid for input of size 1
#
# Exit 0: as described. Exit 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0
"$folder/venv/bin/pip" install -q torchao==0.18.0
"$folder/venv/bin/python" -W ignore - 2>"$folder/log" <<'PYTHON' || { status=$?; tail -n 5 "$folder/log" >&2; exit $status; }
import importlib.metadata
import sys

import torch
from torchao.quantization import IntxWeightOnlyConfig, MappingType, quantize_
from torchao.quantization.granularity import PerAxis
from torchao.quantization.quant_primitives import choose_qparams_affine, quantize_affine

print("torch", torch.__version__, "torchao", importlib.metadata.version("torchao"))


def scales_of(inputs):
    """Scale and zero point of a weight of 5 outputs, by output channel."""
    weight = torch.randn(5, inputs)
    found = choose_qparams_affine(weight, MappingType.SYMMETRIC, (1, inputs), torch.int8)
    print(f"[5, {inputs}] in blocks of (1, {inputs}): scales {list(found[0].shape)}")
    return weight, *found


def error_of(what, function):
    try:
        function()
    except RuntimeError as error:
        print(f"{what}: RuntimeError: {error}")
        return True
    print(f"{what}: no error")
    return False


_, two, _ = scales_of(2)
weight, one, zero = scales_of(1)
config = IntxWeightOnlyConfig(weight_dtype=torch.int8, granularity=PerAxis(0))
layer = torch.nn.Linear(1, 5)
as_described = list(two.shape) == [5] and list(one.shape) == []
as_described &= error_of("quantize_affine", lambda: quantize_affine(weight, (1, 1), one, zero, torch.int8))
as_described &= error_of("quantize_, PerAxis(0)", lambda: quantize_(layer, config))
sys.exit(0 if as_described else 1)
PYTHON
