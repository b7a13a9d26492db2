"""What stock operators cost: a portable program against a fused one of the same model, in turns.

    python benchmarks/portable.py FUSED PORTABLE [--lengths 16,64,128] [--threads 2] [--rounds 15] [--json]

Both are bundles, of one model and quantisation, compiled for this machine. Either program is loaded by this project's
runtime, so that they differ in their lowering alone.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from turns import Rival, measure, median, p95, table

from spartanc.runtime_py.bundle import open_bundle

NAMES = ("fused", "portable")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fused", type=Path)
    parser.add_argument("portable", type=Path)
    parser.add_argument("--lengths", default="16,64,128")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--runs", type=int, default=5, help="counted runs in a turn")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    lengths = [int(length) for length in given.lengths.split(",")]
    bundles = {name: open_bundle(getattr(given, name)) for name in NAMES}
    for name, bundle in bundles.items():
        if bundle.manifest["lowering"] != name:
            parser.error(f"`{bundle.path}` was lowered `{bundle.manifest['lowering']}`, not `{name}`")
    if len({bundle.quantization for bundle in bundles.values()}) != 1:
        parser.error("the bundles are of different quantisations")
    rivals = [Rival(name, "session", str(bundle.program)) for name, bundle in bundles.items()]
    times, _ = measure(rivals, lengths, threads=given.threads, rounds=given.rounds, runs=given.runs)
    ratios = {length: median(times["portable"][length]) / median(times["fused"][length]) for length in lengths}
    if given.json:
        medians = {name: {length: median(times[name][length]) for length in lengths} for name in NAMES}
        settings = {"threads": given.threads, "rounds": given.rounds, "runs": given.runs}
        print(json.dumps({"ratios": ratios, "medians_ms": medians, "settings": settings}, indent=1))
        return
    titles = ("median ms (p95)", *(f"{length} tokens" for length in lengths))
    rows = [
        (name, *(f"{median(times[name][length]):.2f} ({p95(times[name][length]):.2f})" for length in lengths))
        for name in NAMES
    ]
    print(table(titles, [*rows, ("portable / fused", *(f"{ratios[length]:.3f}" for length in lengths))]))


if __name__ == "__main__":
    main()
