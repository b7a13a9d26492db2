"""How large a task's file is beside the program of its backbone: RoBERTa-base's shape in int8, with random weights.

    python benchmarks/task_size.py [--shape roberta-base] [--quantize int8] [--out FLEET] [--json]

One model with the default memories (16 parents, 48 cells) is compiled with `--shared-backbone`. Its classifier has a
square layer, hidden by hidden, that some encoders lack; the task is weighed with it and without. FLEET keeps the
bundle, for `benchmarks/fleet.py FLEET`, which measures what open tasks take.

Exit code 1 where a goal is missed: 1.6% of the program's file with the square layer, 1.1% without.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from sizes import SHAPES, random_model

from spartanc.compiler.pipeline import CompileRequest, compile_model
from spartanc.models.checkpoint import save_model
from spartanc.runtime_py.task_file import open_task

# Weight, scales and bias of RoBERTa's first classifier layer, quantised or not.
SQUARE_LAYER = ("head.0.", "network.classifier.dense.")
GOALS = {"share": 0.016, "share_without_square_layer": 0.011}


def weigh(shape: str, quantization: str, out: Path) -> dict[str, Any]:
    hidden = SHAPES[shape]["hidden_size"]
    with tempfile.TemporaryDirectory(prefix="spartanc-") as scratch:
        path = Path(scratch) / "task.pt"
        save_model(random_model(shape), path)
        request = CompileRequest(models=(path,), target="host", out=out, quantize=quantization, shared_backbone=True)
        compile_model(request)
    task = open_task(out / "tasks" / "task.safetensors")
    square = {name: tensor for name, tensor in task.tensors.items() if name.startswith(SQUARE_LAYER)}
    largest = max((tensor.size for tensor in square.values()), default=hidden * hidden)
    assert largest == hidden * hidden, {name: tensor.shape for name, tensor in square.items()}
    square_bytes = sum(tensor.nbytes for tensor in square.values())
    program = (out / "model.pte").stat().st_size
    return {
        "program_bytes": program,
        "task_bytes": task.bytes,
        "square_layer_bytes": square_bytes,
        "share": task.bytes / program,
        "share_without_square_layer": (task.bytes - square_bytes) / program,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=list(SHAPES), default="roberta-base")
    parser.add_argument("--quantize", choices=("int8", "int4"), default="int8")
    parser.add_argument("--out", type=Path, help="where the bundle is kept; it must not exist")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="spartanc-") as scratch:
        result = weigh(given.shape, given.quantize, given.out or Path(scratch) / "fleet")
    if given.json:
        print(json.dumps(result | {"settings": {"shape": given.shape, "quantization": given.quantize}}, indent=1))
    else:
        print(
            f"{given.shape}, {given.quantize}: program {result['program_bytes'] / 1e6:.1f} MB, task"
            f" {result['task_bytes'] / 1e6:.2f} MB, {result['share']:.2%} of it; without the square layer"
            f" {result['share_without_square_layer']:.2%}"
        )
    missed = [
        f"{name} {result[name]:.4f}, at most {goal} wanted" for name, goal in GOALS.items() if result[name] > goal
    ]
    for line in missed:
        print(f"missed: {line}", file=sys.stderr)
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
