"""What a slimmer backbone costs and which sparsifier chooses best: all at one modelled speed and in one time.

    python benchmarks/slimming.py BACKBONE DATA --texts FILE… [--tasks trec,film] [--seeds 0,1] [--speedup 1.3]
                                  [--target rpi4] [--sparsifiers …] [--minutes 10 | --steps N] [--keep DIR] [--json]

DATA holds NAME/train.jsonl, dev.jsonl and test.jsonl for each task (by `python -m spartanc.models.datasets`). Every
sparsifier makes a backbone from the same texts; then each task is trained with today's defaults on the dense backbone
and on every slim one, seed by seed, and scored once on its test split. A difference is paired by task and seed, with
its standard error. --keep holds backbones and models for the next run.

The times are modelled (docs/slimming.md), the accuracies measured.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from turns import table

from spartanc.base.quiet import hush

hush()

from spartanc.base.progress import say  # noqa: E402
from spartanc.base.targets.catalogue import find_target  # noqa: E402
from spartanc.errors import SpartancError  # noqa: E402
from spartanc.models.checkpoint import load_model  # noqa: E402
from spartanc.models.examples import EncodedExamples  # noqa: E402
from spartanc.models.settings import TrainRequest, TrainSettings  # noqa: E402
from spartanc.models.slim.request import SlimRequest  # noqa: E402
from spartanc.models.slim.slim import slim  # noqa: E402
from spartanc.models.sparsifiers.catalogue import SPARSIFIERS  # noqa: E402
from spartanc.models.trainer import evaluate  # noqa: E402
from spartanc.models.training import train  # noqa: E402
from spartanc.runtime_py.data import read_examples  # noqa: E402
from spartanc.runtime_py.text import TextEncoder  # noqa: E402

DENSE = "dense"


def slimmed(given: argparse.Namespace, sparsifier: str, folder: Path) -> dict[str, Any]:
    """The report of the backbone in `folder`, made if it is not there."""
    if not (folder / "slim.json").is_file():
        say(f"slim by {sparsifier}")
        request = SlimRequest(
            given.backbone, tuple(given.texts), find_target(given.target), folder, speedup=given.speedup,
            minutes=given.minutes, steps=given.steps, sparsifier=sparsifier, uneven=given.uneven, overwrite=True,
        )  # fmt: skip
        slim(request)
    report: dict[str, Any] = json.loads((folder / "slim.json").read_text())
    return report


def accuracy(given: argparse.Namespace, backbone: Path, task: str, seed: int, model: Path) -> float:
    """Of a model trained on `backbone`, on the whole test split; the model is made if it is not there."""
    data = given.data / task
    if not model.is_file():
        say(f"train {model.stem}")
        train(TrainRequest(backbone, data / "train.jsonl", data / "dev.jsonl", model, TrainSettings(seed=seed)))
    trained = load_model(model)
    assert trained.tokenizer is not None
    examples, task_type = read_examples(data / "test.jsonl"), trained.task_type
    encoder = TextEncoder(trained.tokenizer, TrainSettings.max_length)
    targets = task_type.targets(examples, trained.labels, data / "test.jsonl")
    return evaluate(trained.module, task_type, EncodedExamples(examples, targets, encoder))


def measure(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Every backbone's report, and its accuracies beside the dense one's."""
    found: dict[str, Any] = {"backbones": {}, "settings": {"target": given.target, "speedup": given.speedup}}
    runs = [(task, seed) for task in given.tasks for seed in given.seeds]
    dense = [accuracy(given, given.backbone, task, seed, folder / f"{DENSE}-{task}-{seed}.pt") for task, seed in runs]
    for name in given.sparsifiers:
        backbone = folder / name
        report = slimmed(given, name, backbone)
        mine = [accuracy(given, backbone, task, seed, folder / f"{name}-{task}-{seed}.pt") for task, seed in runs]
        points = [100 * (one - other) for one, other in zip(mine, dense, strict=True)]
        found["backbones"][name] = {
            "modelled_speedup": report["modelled_speedup"],
            "steps": report["steps"],
            "seconds": report["seconds"],
            "unexplained": report["unexplained"][-1],
            "accuracies": {f"{task}-{seed}": value for (task, seed), value in zip(runs, mine, strict=True)},
            "points": mean(points),
            "error": stdev(points) / math.sqrt(len(points)) if len(points) > 1 else None,
        }
    found["dense"] = {f"{task}-{seed}": value for (task, seed), value in zip(runs, dense, strict=True)}
    return found


def markdown(found: dict[str, Any]) -> str:
    runs = list(found["dense"])
    heads = ["backbone", "modelled speed", "steps", "variance missed", *runs, "points, mean"]
    rows = [[DENSE, "1", "", "", *(f"{value:.4f}" for value in found["dense"].values()), ""]]
    for name, each in found["backbones"].items():
        error = "" if each["error"] is None else f" ± {each['error']:.2f}"
        rows.append(
            [
                name,
                f"{each['modelled_speedup']:.2f}",
                f"{each['steps']:,}",
                f"{each['unexplained']:.1%}",
                *(f"{each['accuracies'][run]:.4f}" for run in runs),
                f"{each['points']:+.2f}{error}",
            ]
        )
    return table(heads, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("backbone", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--texts", type=Path, nargs="+", required=True)
    parser.add_argument("--tasks", type=lambda text: text.split(","), default=["trec", "film"])
    parser.add_argument("--seeds", type=lambda text: [int(each) for each in text.split(",")], default=[0])
    parser.add_argument("--speedup", type=float, default=1.3)
    parser.add_argument("--target", default="rpi4")
    parser.add_argument("--sparsifiers", type=lambda text: text.split(","), default=[each.name for each in SPARSIFIERS])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--uneven", action="store_true", help="see docs/slimming.md; with second-order alone")
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory(prefix="slimming-") as scratch:
            folder = given.keep or Path(scratch)
            folder.mkdir(parents=True, exist_ok=True)
            found = measure(given, folder)
    except SpartancError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    print(json.dumps(found, indent=1) if given.json else markdown(found))


if __name__ == "__main__":
    main()
