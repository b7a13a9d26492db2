"""Load time and memory: from a program's file to its first answer, in a new process each time, in turns.

    python benchmarks/load.py [--json] [--shape base|mini] [--length 16] [--rounds N] [--threads N]
                              [--only NAME …] [--keep DIR]

The programs are those of encoder.py. load is opening alone, first the first run after it, MB what the process grew by
until then, its interpreter and libraries left out. Files are in the page cache, as they are for whoever starts a
program twice.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
from pathlib import Path

from encoder import SHAPES, make_rivals
from turns import Process, median, table

from spartanc.base.quiet import hush

COLUMNS = {"load": "load, ms", "first": "first run, ms", "answer": "until an answer, ms", "mb": "MB"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    parser.add_argument("--shape", choices=SHAPES, default="base")
    parser.add_argument("--length", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="these programs, not all")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="where programs are kept for the next run")
    arguments = parser.parse_args()
    hush()

    seen: dict[str, dict[str, list[float]]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        directory = arguments.keep or Path(scratch)
        directory.mkdir(parents=True, exist_ok=True)
        made = [rival for rival in make_rivals(arguments.shape, directory, arguments.only)[0] if rival.kind != "eager"]
        for number in range(arguments.rounds + 1):  # the first brings files into the page cache
            print(f"round {number} of {arguments.rounds}", file=sys.stderr)
            for rival in random.Random(number).sample(made, len(made)):
                process = Process(rival, arguments.threads)
                try:
                    (first,) = process.run(arguments.length, runs=1, warmup=0)
                    values = (process.load_ms, first, process.load_ms + first, process.peak_mb)
                finally:
                    process.close()
                columns = seen.setdefault(rival.name, {name: [] for name in COLUMNS})
                if number:
                    for name, value in zip(COLUMNS, values, strict=True):
                        columns[name].append(value)

    medians = {rival.name: {name: median(seen[rival.name][name]) for name in COLUMNS} for rival in made}
    result = {
        "ratios": {
            f"{ours}_vs_{theirs}": medians[theirs]["answer"] / row["answer"]
            for ours, row in medians.items()
            if ours in ("spartanc", "spartanc_int8")
            for theirs in medians
            if not theirs.startswith("spartanc") and theirs.endswith("_int8") == ours.endswith("_int8")
        },
        "medians_ms": {name: {c: row[c] for c in COLUMNS if c != "mb"} for name, row in medians.items()},
        "grown_mb": {name: row["mb"] for name, row in medians.items()},
        "settings": {
            "shape": arguments.shape, "length": arguments.length, "rounds": arguments.rounds,
            "threads": arguments.threads,
        },
    }  # fmt: skip
    if arguments.json:
        print(json.dumps(result, indent=2))
        return
    print(
        table(["program", *COLUMNS.values()], [[n, *(f"{v:.1f}" for v in row.values())] for n, row in medians.items()])
    )
    for name, ratio in result["ratios"].items():
        print(f"{name}, until an answer: {ratio:.2f}")


if __name__ == "__main__":
    main()
