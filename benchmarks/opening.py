"""What checking a bundle costs: the first opening, a later one, and beside them the loading of its program.

    python benchmarks/opening.py BUNDLE [--rounds 20] [--json]

Each round hashes everything, opens once more from this user's record and loads the program in a process of its own, the
three in turns. Ratios are to the load time of the same round.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import time
from pathlib import Path

import numpy as np

from spartanc.runtime_py.build import COMMAND, build_runtime
from spartanc.runtime_py.bundle import open_bundle


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    command = build_runtime("host") / COMMAND
    program = open_bundle(given.bundle).program
    open_bundle(given.bundle)
    rows = []
    for _ in range(given.rounds):
        first = _milliseconds(lambda: open_bundle(given.bundle, recheck=True))
        later = _milliseconds(lambda: open_bundle(given.bundle))
        done = subprocess.run([command, "info", program], capture_output=True, text=True, check=True)
        rows.append((first, later, json.loads(done.stdout)["load_ms"]))
    first_ms, later_ms, load_ms = np.array(rows).T
    result = {
        "ratios": {"first_over_load": _median(first_ms / load_ms), "later_over_load": _median(later_ms / load_ms)},
        "medians_ms": {"first": _median(first_ms), "later": _median(later_ms), "load": _median(load_ms)},
        "settings": {"bytes": program.stat().st_size, "rounds": given.rounds, "bundle": given.bundle.name},
    }
    print(json.dumps(result, indent=1) if given.json else result)


def _milliseconds(action) -> float:
    start = time.perf_counter()
    action()
    return (time.perf_counter() - start) * 1e3


def _median(values) -> float:
    return round(float(np.median(values)), 4)


if __name__ == "__main__":
    main()
