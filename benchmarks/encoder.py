"""Whole encoder: a compiled SPARTAN model against what a user would pick instead, in turns, one process each.

    python benchmarks/encoder.py [--json] [--shape base|mini] [--lengths 16 64 128] [--rounds N] [--threads N]
                                 [--only NAME …] [--keep DIR]

base is BERT of 12 layers of 768, mini of 6 of 384, with random weights, the same in every program; memories of 16
parents, 48 cells, 8 chosen; adapters of bottleneck 48. In fp32 and int8:

    spartanc           this compiler, this runtime
    spartanc_bare      the same without memories
    stock_houlsby_48   adapters, ExecuTorch's own XNNPACK recipe
    onnx, onnx_houlsby_48   ONNX Runtime with the memory and with adapters; needs onnx, onnxruntime, onnxscript
    eager_gather       PyTorch with the memory as first published (fp32)

Ratios are of medians: how many times the throughput of theirs ours has. --keep holds the programs, which take minutes
to make, for the next run.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import tempfile
from functools import partial
from pathlib import Path

import rivals
from turns import Rival, measure, median, p95, table

from spartanc.base.quiet import hush

SHAPES = {"base": (12, 768), "mini": (6, 384)}
MAX_LENGTH = 128
MODELS = {  # name: who makes the program, of which model
    "spartanc": ("ours", rivals.spartan),
    "spartanc_bare": ("ours", rivals.bare),
    "stock_houlsby_48": ("stock", rivals.adapters),
    "onnx": ("onnx", rivals.spartan),
    "onnx_houlsby_48": ("onnx", rivals.adapters),
}
GATHER = "eager_gather"


def make_rivals(shape: str, directory: Path, only: list[str]) -> tuple[list[Rival], dict[str, dict]]:
    """All programs, written to `directory` where they are not there yet, and what their makers say of them."""
    layers, hidden = SHAPES[shape]
    made, facts = [], {}
    with_onnx = all(importlib.util.find_spec(name) for name in ("onnx", "onnxruntime"))
    if not with_onnx:
        print("onnx and onnxruntime are not installed: measured without ONNX Runtime", file=sys.stderr)
    for model, (maker, build) in MODELS.items():
        for quantization, suffix in (("none", ""), ("int8", "_int8")):
            name = model + suffix
            if (only and name not in only) or (maker == "onnx" and not with_onnx):
                continue
            kind, ending = rivals.KINDS[maker]
            path = directory / f"{shape}_{name}.{ending}"
            facts[name] = rivals.write(maker, partial(build, layers, hidden), path, quantization, MAX_LENGTH)
            made.append(Rival(name, kind, str(path)))
    if not only or GATHER in only:
        made.append(Rival(GATHER, "eager", "gather", {"layers": layers, "hidden": hidden}))
    return made, facts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    parser.add_argument("--shape", choices=SHAPES, default="base")
    parser.add_argument("--lengths", type=int, nargs="+", default=[16, 64, 128])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="these programs, not all")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="where programs are kept for the next run")
    arguments = parser.parse_args()
    hush()

    with tempfile.TemporaryDirectory() as scratch:
        directory = arguments.keep or Path(scratch)
        directory.mkdir(parents=True, exist_ok=True)
        made, facts = make_rivals(arguments.shape, directory, arguments.only)
        times, peaks = measure(made, arguments.lengths, threads=arguments.threads, rounds=arguments.rounds)

    medians = {name: {length: median(t) for length, t in by_length.items()} for name, by_length in times.items()}
    ratios = {
        f"{'int8' if ours.endswith('int8') else 'fp32'}_vs_{theirs}_at_{length}": medians[theirs][length] / ms
        for ours in ("spartanc", "spartanc_int8")
        if ours in medians
        for theirs in medians
        if not theirs.startswith("spartanc") or theirs == ours.replace("spartanc", "spartanc_bare")
        for length, ms in medians[ours].items()
    }
    shortest, longest = min(arguments.lengths), max(arguments.lengths)
    result = {
        "ratios": ratios,
        "medians_ms": medians,
        "p95_ms": {name: {length: p95(t) for length, t in by_length.items()} for name, by_length in times.items()},
        "shortest_over_longest": {name: row[shortest] / row[longest] for name, row in medians.items()},
        "peak_mb": peaks,
        "programs": facts,
        "settings": {
            "shape": arguments.shape, "lengths": arguments.lengths, "rounds": arguments.rounds,
            "threads": arguments.threads, "adapters": 48,
        },
    }  # fmt: skip
    if arguments.json:
        print(json.dumps(result, indent=2))
        return
    titles = ["program", *(f"{length} tokens, ms" for length in arguments.lengths), "p95", "MB", "delegates"]
    rows = [
        [
            name,
            *(f"{ms:.2f}" for ms in medians[name].values()),
            f"{result['p95_ms'][name][longest]:.2f}",
            f"{peaks[name]:.0f}",
            str(facts.get(name, {}).get("delegates", "")),
        ]
        for name in medians
    ]
    print(table(titles, rows))
    print()
    ours = [name for name in ("fp32", "int8") if any(ratio.startswith(name) for ratio in ratios)]
    rows = [
        [f"{mine} against {theirs}", *(f"{ratios[f'{mine}_vs_{theirs}_at_{n}']:.2f}" for n in arguments.lengths)]
        for mine in ours
        for theirs in medians
        if f"{mine}_vs_{theirs}_at_{longest}" in ratios
    ]
    print(table(["throughput of ours over theirs", *(f"{n} tokens" for n in arguments.lengths)], rows))


if __name__ == "__main__":
    main()
