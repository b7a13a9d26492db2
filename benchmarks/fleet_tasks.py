"""Several trained tasks on one backbone against a bundle of each task's own: the same label on every test input.

    python benchmarks/fleet_tasks.py MODELS DATA [--tasks trec,sms,film,tweets] [--quantize int8] [--target host]
                                     [--device local] [--bundles DIR] [--limit N] [--json]

MODELS holds a NAME.pt for each task, DATA a NAME/test.jsonl. All tasks are compiled with `--shared-backbone` to one
fleet, and each alone; DIR keeps the bundles, and those that are there already are taken as they are. Every test input
goes through both. Then rows of all tasks, shuffled, go through the fleet in one pass (`Fleet.logits`, on this machine),
which must give the very logits that each task gives by itself.

Exit code 1 where a label differs.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from spartanc.base.quiet import hush

hush()

import numpy as np  # noqa: E402

from spartanc.compiler.pipeline import CompileRequest, compile_model  # noqa: E402
from spartanc.compiler.proof import compare  # noqa: E402
from spartanc.compiler.quality import quality  # noqa: E402
from spartanc.compiler.samples import Row, encode_examples  # noqa: E402
from spartanc.runtime_py.bundle import Bundle, open_bundle  # noqa: E402
from spartanc.runtime_py.data import read_examples  # noqa: E402
from spartanc.runtime_py.devices.catalogue import find_device  # noqa: E402
from spartanc.runtime_py.safetensors_file import write_tensors  # noqa: E402

MIXED_ROWS = 200  # of each task

# A session and executorch do not go into one process together, so the mixed pass has one of its own.
_MIXED = """
import json, sys
from pathlib import Path
from spartanc.runtime_py.fleet import Fleet
from spartanc.runtime_py.safetensors_file import read_tensors
names = json.loads(sys.argv[2])
held = read_tensors(Path(sys.argv[3]))
rows = [(held[f"ids{i}"], held[f"mask{i}"]) for i in range(len(names))]
with Fleet(sys.argv[1], threads=1) as fleet:
    print(json.dumps([row.tolist() for row in fleet.logits(rows, names)]))
"""


def compiled(models: list[Path], out: Path, options: dict[str, Any]) -> Bundle:
    if not out.is_dir():
        compile_model(CompileRequest(models=tuple(models), out=out, **options))
    return open_bundle(out)


def mixed_difference(fleet: Path, rows: dict[str, list[Row]], alone: dict[str, list[np.ndarray]]) -> dict[str, Any]:
    """The largest difference between a shuffled pass over all tasks' rows and each task's own pass."""
    order = [(name, i) for name in rows for i in range(min(MIXED_ROWS, len(rows[name])))]
    np.random.default_rng(0).shuffle(order)
    chosen = [(name, int(i)) for name, i in order]
    with tempfile.TemporaryDirectory(prefix="spartanc-") as scratch:
        file = Path(scratch) / "rows.safetensors"
        held = {}
        for number, (name, i) in enumerate(chosen):
            held[f"ids{number}"], held[f"mask{number}"] = rows[name][i]
        write_tensors(file, held)
        words = [sys.executable, "-c", _MIXED, str(fleet), json.dumps([name for name, _ in chosen]), str(file)]
        done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(done.stderr)
    found = json.loads(done.stdout)
    moved = [np.abs(np.array(row) - alone[name][i]).max() for row, (name, i) in zip(found, chosen, strict=True)]
    return {"rows": len(chosen), "max_abs_diff": float(max(moved))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--tasks", default="trec,sms,film,tweets")
    parser.add_argument("--quantize", default="int8")
    parser.add_argument("--target", default="host")
    parser.add_argument("--device", default="local")
    parser.add_argument("--bundles", type=Path)
    parser.add_argument("--limit", type=int, help="test inputs of each task")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    tasks = given.tasks.split(",")
    options = {"target": given.target, "quantize": given.quantize}
    result: dict[str, Any] = {"settings": options | {"device": given.device, "limit": given.limit}, "tasks": {}}
    with tempfile.TemporaryDirectory(prefix="spartanc-") as scratch:
        folder = given.bundles or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        suffix = given.quantize if given.target == "host" else f"{given.quantize}-{given.target}"
        paths = [given.models / f"{task}.pt" for task in tasks]
        fleet = compiled(paths, folder / f"fleet-{suffix}", options | {"shared_backbone": True})
        device = find_device(given.device, fleet.target)
        all_rows: dict[str, list[Row]] = {}
        shared: dict[str, list[np.ndarray]] = {}
        for task, path in zip(tasks, paths, strict=True):
            single = compiled([path], folder / f"{task}-{suffix}", options)
            examples = read_examples(given.data / task / "test.jsonl")[: given.limit]
            assert fleet.tokenizer is not None
            all_rows[task] = rows = encode_examples(examples, fleet.tokenizer, fleet.max_length).rows
            shared[task] = device.run(fleet.path, fleet.program, rows, task=task, threads=1)
            own = device.run(single.path, single.program, rows, threads=1)
            parity = compare(own, shared[task])
            differing = [i + 1 for i in range(len(rows)) if own[i].argmax() != shared[task][i].argmax()]
            result["tasks"][task] = {
                "rows": len(rows),
                "labels_that_differ": len(differing),
                "differing_rows": differing[:20],
                "max_abs_diff": parity.max_abs_diff,
                "accuracy_shared": quality(single, examples, shared[task]),
                "accuracy_single": quality(single, examples, own),
                "task_bytes": fleet.manifest["fleet"]["tasks"][task]["bytes"],
            }
        if given.device == "local":
            result["mixed"] = mixed_difference(fleet.path, all_rows, shared)
        result["backbone_bytes"] = fleet.program.stat().st_size
    if given.json:
        print(json.dumps(result, indent=1))
    else:
        for task, row in result["tasks"].items():
            print(
                f"{task:<10} {row['rows']} inputs, {row['labels_that_differ']} labels differ, logits by"
                f" {row['max_abs_diff']:.2e}; accuracy {row['accuracy_shared']:.4f} shared,"
                f" {row['accuracy_single']:.4f} alone; {row['task_bytes'] / 1e3:.0f} kB"
            )
        if "mixed" in result:
            mixed = result["mixed"]
            print(f"mixed      {mixed['rows']} rows of all tasks in one pass: logits by {mixed['max_abs_diff']:.2e}")
        print(f"backbone   {result['backbone_bytes'] / 1e6:.1f} MB")
    sys.exit(1 if any(row["labels_that_differ"] for row in result["tasks"].values()) else 0)


if __name__ == "__main__":
    main()
