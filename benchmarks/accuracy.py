"""What quantisation costs on real data: fp32 eager PyTorch against int8 and int4 bundles, on test splits.

    python benchmarks/accuracy.py MODELS DATA [--tasks trec,sms] [--quantize int8,int4] [--bundles DIR] [--fleet FLEET]
                                  [--json]

MODELS holds a NAME.pt for each task (by `spartanc train`), DATA a NAME/test.jsonl (by
`python -m spartanc.models.datasets`). Each model is compiled for `host` and proved on rows of NAME/dev.jsonl; the test
split is seen once, here. With --bundles, they are kept in DIR, and those that are there already are taken as they are.
With --fleet, the tasks of that fleet are measured in place of bundles of their own.

Prints a Markdown table, or with --json one document. Exit code 1 where a goal is missed: int8 loses at most 0.3 points
on each task and 0.1 on average, and gives eager's label on 99% of each split; int4-memories loses at most 0.2 on
average, int4 0.5.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from spartanc.base.quiet import hush

hush()

import numpy as np  # noqa: E402

from spartanc.base.progress import say, stage  # noqa: E402
from spartanc.compiler.pipeline import CompileRequest, compile_model  # noqa: E402
from spartanc.compiler.proof import Reference, eager_logits  # noqa: E402
from spartanc.compiler.quality import quality  # noqa: E402
from spartanc.compiler.samples import encode_examples  # noqa: E402
from spartanc.errors import GateError  # noqa: E402
from spartanc.models.checkpoint import load_model  # noqa: E402
from spartanc.models.datasets import STANDARD_SET  # noqa: E402
from spartanc.runtime_py.bundle import Bundle, open_bundle  # noqa: E402
from spartanc.runtime_py.data import read_examples  # noqa: E402
from spartanc.runtime_py.devices.local import LocalDevice  # noqa: E402

PROOF_ROWS = 200
GOALS = {
    "int8": {"points_each": 0.3, "points_average": 0.1, "agreement_each": 0.99},
    "int4-memories": {"points_average": 0.2},
    "int4": {"points_average": 0.5},
}


def bundle_of(model: Path, dev: Path, quantization: str, folder: Path) -> Path:
    """The compiled bundle in `folder`, made if it is not there."""
    out = folder / f"{model.stem}-{quantization}"
    if not out.is_dir():
        with tempfile.TemporaryDirectory(prefix="spartanc-") as scratch:
            data = Path(scratch) / "dev.jsonl"
            data.write_text("".join(dev.read_text().splitlines(keepends=True)[:PROOF_ROWS]))
            compile_model(CompileRequest(models=(model,), target="host", out=out, quantize=quantization, data=data))
    return out


def measure(
    task: str, models: Path, data: Path, quantizations: list[str], folder: Path, fleet: Bundle | None
) -> dict[str, Any]:
    """One task: accuracy of eager PyTorch, and accuracy, agreement and size of every bundle, or of the fleet."""
    path = models / f"{task}.pt"
    model = load_model(path)
    examples = read_examples(data / task / "test.jsonl")
    reference: list[np.ndarray] | None = None
    row: dict[str, Any] = {"rows": len(examples)}
    for quantization in quantizations:
        say(f"{task}, {quantization}")
        try:
            bundle = fleet or open_bundle(bundle_of(path, data / task / "dev.jsonl", quantization, folder))
        except GateError as error:
            row[quantization] = {"refused": str(error)}
            continue
        assert model.tokenizer is not None
        of_task = bundle if fleet is None else bundle.for_task(model.task_type, model.labels)
        rows = encode_examples(examples, model.tokenizer, bundle.max_length).rows
        with stage(f"run {len(rows)} texts"):
            if reference is None:
                reference = eager_logits(model.module, rows)
                row["eager"] = quality(of_task, examples, reference)
            chosen = None if fleet is None else task
            got = LocalDevice().run(bundle.path, bundle.program, rows, threads=1, task=chosen)
        against = Reference(np.stack(reference).astype(np.float64), of_task.task_type, real=True)
        accuracy = quality(of_task, examples, got)
        assert accuracy is not None
        row[quantization] = {
            "accuracy": accuracy,
            "points_lost": 100 * (row["eager"] - accuracy),
            "label_agreement": against.compare(got).label_agreement,
            "program_bytes": bundle.program.stat().st_size,
        }
    return row


def goals(tasks: dict[str, Any], quantization: str) -> dict[str, Any]:
    """The average over the tasks, and the goals that were missed, in words."""
    cells = {task: row[quantization] for task, row in tasks.items()}
    missed = [f"{task}: {cell['refused']}" for task, cell in cells.items() if "refused" in cell]
    measured = {task: cell for task, cell in cells.items() if "refused" not in cell}
    asked = GOALS.get(quantization, {})
    average = float(np.mean([cell["points_lost"] for cell in measured.values()])) if measured else None
    for task, cell in measured.items():
        if cell["points_lost"] > asked.get("points_each", np.inf) + 1e-9:
            missed.append(f"{task} loses {cell['points_lost']:.2f} points, {asked['points_each']} allowed")
        if cell["label_agreement"] < asked.get("agreement_each", 0):
            missed.append(f"{task}: labels agree on {cell['label_agreement']:.4f}, {asked['agreement_each']} asked")
    if average is not None and average > asked.get("points_average", np.inf) + 1e-9:
        missed.append(f"{average:.3f} points lost on average, {asked['points_average']} allowed")
    return {"points_lost_average": average, "missed": missed}


def markdown(result: dict[str, Any]) -> str:
    quantizations = result["settings"]["quantizations"]
    heads = ["task", "texts", "eager fp32"]
    for each in quantizations:
        heads += [f"{each}", "points lost", "same label", "size"]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for task, row in result["tasks"].items():
        cells = [task, str(row["rows"]), f"{row['eager']:.4f}" if "eager" in row else ""]
        for each in quantizations:
            cell = row[each]
            if "refused" in cell:
                cells += ["not written", "", "", ""]
                continue
            cells += [
                f"{cell['accuracy']:.4f}",
                f"{cell['points_lost']:+.2f}",
                f"{cell['label_agreement']:.2%}",
                f"{cell['program_bytes'] / 1e6:.1f} MB",
            ]
        lines.append("| " + " | ".join(cells) + " |")
    cells = ["average", "", ""]
    for each in quantizations:
        average = result["goals"][each]["points_lost_average"]
        cells += ["", "" if average is None else f"{average:+.3f}", "", ""]
    return "\n".join([*lines, "| " + " | ".join(cells) + " |"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--tasks", default=",".join(STANDARD_SET))
    parser.add_argument("--quantize", default="int8,int4")
    parser.add_argument("--bundles", type=Path, help="directory in which bundles are kept")
    parser.add_argument("--fleet", type=Path, help="a bundle with a shared backbone that has all the tasks")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    tasks, quantizations = given.tasks.split(","), given.quantize.split(",")
    fleet = None if given.fleet is None else open_bundle(given.fleet)
    if fleet is not None:
        quantizations = [fleet.quantization]
    with tempfile.TemporaryDirectory(prefix="spartanc-") as scratch:
        folder = given.bundles or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        rows = {task: measure(task, given.models, given.data, quantizations, folder, fleet) for task in tasks}
    result = {
        "settings": {"quantizations": quantizations, "device": "local", "fleet": fleet is not None},
        "tasks": rows,
        "goals": {each: goals(rows, each) for each in quantizations},
    }
    missed = [f"{each}: {what}" for each in quantizations for what in result["goals"][each]["missed"]]
    print(json.dumps(result, indent=1) if given.json else markdown(result))
    for what in missed:
        say(f"missed: {what}")
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
