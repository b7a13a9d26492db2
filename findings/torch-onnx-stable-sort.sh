#!/bin/sh
# torch 2.13.0: torch.onnx.export(dynamo=False) refuses a stable sort and blames an `out` argument that nobody gave.
#
# Guessed: x.sort(dim=-1, descending=True, stable=True) is exported as TopK, as the same call without `stable` is: ONNX's
# TopK gives equal values by their lower index, which is what `stable` asks for. Or it is refused for being stable.
# Seen: OnnxExporterError "Unsupported: ONNX export of operator Sort, Out parameter is not supported". The arguments of
# sort.stable (stable, dim, descending) are read as those of sort (dim, descending, out). Without `stable` it exports.
# Matters for models that must choose the same of equal values everywhere, as routers do: the message sends whoever reads
# it to look for an `out=` in a model that has none.
#
# Output seen (x86-64, torch 2.13.0+cpu, onnx 1.19.1):
#   stable=False: exported, operators Constant Gather Shape TopK
#   stable=True: OnnxExporterError: Unsupported: ONNX export of operator Sort, Out parameter is not supported
#
# Exit 0: as described. Exit 1: it behaves otherwise now.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0
"$folder/venv/bin/pip" install -q onnx==1.19.1
"$folder/venv/bin/python" -W ignore - 2>"$folder/log" <<'PYTHON' || { status=$?; tail -n 5 "$folder/log" >&2; exit $status; }
import importlib.metadata
import io
import sys

import onnx
import torch


class Ranked(torch.nn.Module):
    def __init__(self, stable):
        super().__init__()
        self.stable = stable

    def forward(self, x):
        if self.stable:
            return x.sort(dim=-1, descending=True, stable=True)
        return x.sort(dim=-1, descending=True)


def export(stable):
    """What became of it, in a line."""
    file = io.BytesIO()
    try:
        torch.onnx.export(Ranked(stable), (torch.tensor([[1.0, 2.0, 2.0]]),), file, opset_version=17, dynamo=False)
    except torch.onnx.OnnxExporterError as error:
        return f"OnnxExporterError: {str(error).split('. ')[0]}"
    nodes = onnx.load_from_string(file.getvalue()).graph.node
    return f"exported, operators {' '.join(sorted({node.op_type for node in nodes}))}"


print("torch", torch.__version__, "onnx", importlib.metadata.version("onnx"))
plain, stable = export(False), export(True)
print("stable=False:", plain)
print("stable=True:", stable)
sys.exit(0 if "TopK" in plain and "Out parameter is not supported" in stable else 1)
PYTHON
