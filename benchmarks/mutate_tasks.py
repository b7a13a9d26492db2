"""Random mutations of a fleet's task files, against both readers.

    python benchmarks/mutate_tasks.py FLEET [--count 10000] [--seed 0]

Half of the files keep their digest, half get one that agrees. None may crash a reader; none with the old digest may be
accepted; one that is accepted with a new digest is no other than the fleet's program takes. A failing mutation is named
by its number and seed. Prints what became of all as JSON.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from spartanc.errors import UsageError
from spartanc.runtime_py.build import COMMAND, build_runtime
from spartanc.runtime_py.bundle import open_bundle
from spartanc.runtime_py.safetensors_file import write_tensors
from spartanc.runtime_py.task_file import check_task, open_task, read_interface
from support.tasks import mutate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("fleet", type=Path)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    bundle = open_bundle(given.fleet)
    interface = read_interface(bundle.manifest, given.fleet)
    files = [given.fleet / row["file"] for row in bundle.manifest["fleet"]["tasks"].values()]
    sound = [(file.read_bytes(), open_task(file)) for file in files]
    command = build_runtime("host") / COMMAND

    def one(number: int) -> tuple[str, str, str]:
        generator = np.random.default_rng([given.seed, number])
        data, task = sound[number % len(sound)]
        sealed = number % 2 == 1
        file = Path(folder) / f"{number}.safetensors"
        file.write_bytes(mutate(data, generator, sealed))
        try:
            check_task(open_task(file), interface)
            python = "accepted"
        except UsageError:
            python = "refused"
        arguments = [command, "run", given.fleet, "--task", file, "--ids", ids[task.name], "--threads", "1"]
        done = subprocess.run(list(map(str, arguments)), capture_output=True, text=True, errors="replace")
        native = {0: "accepted", 2: "refused"}.get(done.returncode, f"exit {done.returncode}")
        if native.startswith("exit") or (not sealed and "accepted" in (python, native)):
            print(f"mutation {number} of seed {given.seed}: {python}, {native} {done.stderr}", file=sys.stderr)
        if native == "accepted" and python == "refused":
            print(f"mutation {number} of seed {given.seed}: the readers disagree", file=sys.stderr)
        file.unlink()
        return "digest recomputed" if sealed else "digest kept", python, native

    with tempfile.TemporaryDirectory() as folder:
        ids = {}
        for _, task in sound:
            ids[task.name] = Path(folder) / f"ids-{task.name}.safetensors"
            write_tensors(
                ids[task.name], {"input_ids": task.probe.input_ids, "attention_mask": task.probe.attention_mask}
            )
        with ThreadPoolExecutor(2) as pool:
            found = Counter(pool.map(one, range(given.count)))
    table = {
        kind: {f"python {python}, native {native}": count for (k, python, native), count in found.items() if k == kind}
        for kind in ("digest kept", "digest recomputed")
    }
    print(json.dumps({"mutations": given.count, "seed": given.seed, **table}, indent=1))
    crashed = any(native.startswith("exit") for _, _, native in found)
    kept = any(kind == "digest kept" and "accepted" in (python, native) for kind, python, native in found)
    sys.exit(1 if crashed or kept else 0)


if __name__ == "__main__":
    main()
