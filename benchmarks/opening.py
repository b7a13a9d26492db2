"""What checking a bundle costs: the first opening, a later one, and beside them loading its program and a first answer.

    python benchmarks/opening.py BUNDLE [--rounds 20] [--json]

Each round hashes everything, opens once more from this user's record, has the `spartan` command do the latter in a
process of its own, and loads the program and runs the bundle's probe in another; all in turns. Ratios are to the same
round. Loading an int8 program maps it and reads little of it: its weights are read by the first run, so that the time
until a first answer is the fairer measure there. A later opening reads, parses and checks the manifest, as it has to
whatever was verified before; `parse` is Python's reading and parsing alone.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from spartanc.runtime_py.build import COMMAND, build_runtime
from spartanc.runtime_py.bundle import MANIFEST, open_bundle
from spartanc.runtime_py.safetensors_file import write_tensors
from spartanc.runtime_py.strict_json import parse_object


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path, help="of one task")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    command = build_runtime("host") / COMMAND
    bundle = open_bundle(given.bundle)
    open_bundle(given.bundle)

    def asked(*words: object) -> dict[str, Any]:
        done = subprocess.run([command, *map(str, words), "--threads", "1"], capture_output=True, text=True, check=True)
        return json.loads(done.stdout)

    times: dict[str, list[float]] = {name: [] for name in ("first", "later", "parse", "later_native", "load", "answer")}
    with tempfile.TemporaryDirectory() as folder:
        ids = Path(folder) / "ids.safetensors"
        write_tensors(ids, {"input_ids": bundle.probe.input_ids, "attention_mask": bundle.probe.attention_mask})
        for _ in range(given.rounds):
            times["first"].append(_milliseconds(lambda: open_bundle(given.bundle, recheck=True)))
            times["later"].append(_milliseconds(lambda: open_bundle(given.bundle)))
            times["parse"].append(_milliseconds(lambda: parse_object((given.bundle / MANIFEST).read_bytes())))
            times["later_native"].append(asked("info", given.bundle)["check_ms"])
            answered = asked("run", bundle.program, "--ids", ids, "--json")
            times["load"].append(answered["load_ms"])
            times["answer"].append(answered["load_ms"] + answered["run_ms"][0])
    of = {name: np.array(values) for name, values in times.items()}
    result = {
        "ratios": {
            f"{ours}_over_{theirs}": _median(of[ours] / of[theirs])
            for theirs in ("load", "answer")
            for ours in ("first", "later", "later_native")
        },
        "medians_ms": {name: _median(values) for name, values in of.items()},
        "settings": {
            "bytes": bundle.program.stat().st_size, "rounds": given.rounds, "bundle": given.bundle.name, "threads": 1,
        },
    }  # fmt: skip
    print(json.dumps(result, indent=1) if given.json else result)


def _milliseconds(action) -> float:
    start = time.perf_counter()
    action()
    return (time.perf_counter() - start) * 1e3


def _median(values) -> float:
    return round(float(np.median(values)), 4)


if __name__ == "__main__":
    main()
