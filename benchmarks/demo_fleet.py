"""One backbone, loaded once, and every task of a fleet answering the same sentences.

python benchmarks/demo_fleet.py FLEET TEXT…
"""

from __future__ import annotations

import sys
import time

import spartanc


def main() -> None:
    path, *texts = sys.argv[1:]
    start = time.perf_counter()
    with spartanc.load(path, threads=1) as fleet:
        backbone = fleet.bundle.program.stat().st_size / 1e6
        print(f"one backbone of {backbone:.1f} MB, loaded once in {1000 * (time.perf_counter() - start):.0f} ms")
        for task in fleet.tasks:
            labels = fleet.labels(task)
            size = (fleet.bundle.path / "tasks" / f"{task}.safetensors").stat().st_size / 1e3
            print(f"  {task:<10} {size:5.0f} kB, {len(labels)} labels: {', '.join(labels[:8])}")
        for text in texts:
            print(f"\n{text}")
            for task in fleet.tasks:
                start = time.perf_counter()
                (answer,) = fleet.classify([text], task=task)
                spent = 1000 * (time.perf_counter() - start)
                print(f"  {task:<10} {answer.label:<10} {answer.score:.3f}  {spent:6.1f} ms")


if __name__ == "__main__":
    main()
