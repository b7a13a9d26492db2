"""What a fleet costs: going from task to task, memory for every open task, latency against a program of one task.

    python benchmarks/fleet.py FLEET [--single BUNDLE --task NAME] [--length 128] [--tasks 64] [--json]

swap     what lies between the name of another task and the program's first operator: finding the task, making its
         table of inputs, handing it to the program; at every run while tasks take turns, and while they do not
memory   resident memory before and after opening copies of the fleet's tasks, each a file of its own
latency  the shared program with task NAME against the bundle that was compiled from that task's model alone, in turn,
         by the `spartan` command
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np

from spartanc.runtime_py.build import COMMAND, build_runtime
from spartanc.runtime_py.fleet import Fleet


def resident_bytes() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("no VmRSS in /proc/self/status")


def percentiles(values_ns: list[int]) -> dict[str, float]:
    return {f"p{p}": float(np.percentile(values_ns, p)) / 1e6 for p in (50, 95, 99)}


def measure_swaps(fleet: Fleet, length: int, runs: int) -> dict[str, dict[str, float]]:
    """Milliseconds from a task's name to the first operator, and of the runs."""
    names = list(fleet.tasks)
    ids = np.resize(fleet.open(names[0]).file.probe.input_ids, (1, length))
    mask = np.ones_like(ids)
    session = fleet.sessions[0]
    result = {}
    for kind, order in (("same_task", names[:1]), ("other_task", names)):
        between, run = [], []
        for number in range(runs + 10):
            task = order[number % len(order)]
            start = time.perf_counter_ns()
            inputs = fleet.open(task).inputs
            inputs.after(ids, mask)
            found = time.perf_counter_ns() - start
            session.run(ids, mask, inputs)
            statistics = session.statistics
            between.append(found + statistics.last_inputs_ns)
            run.append(statistics.last_run_ns)
        result[kind] = percentiles(between[10:])
        result[f"{kind}_run"] = percentiles(run[10:])
    return result


def measure_memory(fleet: Fleet, count: int, folder: Path) -> dict[str, float]:
    """Resident bytes that `count` open tasks add, against the bytes of their files."""
    sources = [fleet.open(name).file.path for name in fleet.tasks]
    copies = [folder / f"task{number}.safetensors" for number in range(count)]
    for number, copy in enumerate(copies):
        shutil.copyfile(sources[number % len(sources)], copy)
    fleet.open(copies[0])  # what the first one brings once
    fleet.forget(copies[0])
    before = resident_bytes()
    for copy in copies:
        fleet.open(copy)
    grown, files = resident_bytes() - before, sum(copy.stat().st_size for copy in copies)
    return {"tasks": count, "grown_bytes": grown, "file_bytes": files, "ratio": grown / files}


def measure_latency(fleet: Path, single: Path, task: str, length: int, threads: int) -> dict[str, float]:
    """Medians in milliseconds, from runs that take turns in one process."""
    command = [build_runtime("host") / COMMAND, "bench", fleet, "--task", task, "--baseline", single]
    command += ["--length", length, "--threads", threads, "--min-runs", 200, "--max-runs", 2000, "--seconds", 30]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True)
    shared, own = (np.array(program["run_ns"]) / 1e6 for program in json.loads(done.stdout)["programs"])
    shared_ms, own_ms = float(np.median(shared)), float(np.median(own))
    return {"shared_ms": shared_ms, "single_ms": own_ms, "ratio": shared_ms / own_ms, "runs": len(shared)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fleet", type=Path)
    parser.add_argument("--single", type=Path, help="the bundle of one task, compiled alone")
    parser.add_argument("--task", help="its name in the fleet")
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--tasks", type=int, default=64)
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    result: dict = {"settings": {"length": given.length, "threads": given.threads, "runs": given.runs}}
    with tempfile.TemporaryDirectory() as folder, Fleet(given.fleet, threads=given.threads) as fleet:
        length = min(given.length, fleet.bundle.max_length)
        result["swap_ms"] = measure_swaps(fleet, length, given.runs)
        result["memory"] = measure_memory(fleet, given.tasks, Path(folder))
    result["ratios"] = {"memory_vs_files": result["memory"]["ratio"]}
    result["medians_ms"] = {"swap": result["swap_ms"]["other_task"]["p50"]}
    if given.single is not None:
        if given.task is None:
            parser.error("--single needs --task")
        latency = measure_latency(given.fleet, given.single, given.task, length, given.threads)
        result["ratios"]["shared_vs_single"] = latency["ratio"]
        result["medians_ms"] |= {"shared": latency["shared_ms"], "single": latency["single_ms"]}
    if given.json:
        print(json.dumps(result, indent=1))
        return
    swap = result["swap_ms"]
    print(f"swap     {swap['other_task']['p50']:.3f} ms, p99 {swap['other_task']['p99']:.3f} ms", end="")
    print(f"  (the same task again: {swap['same_task']['p50']:.3f}, p99 {swap['same_task']['p99']:.3f})")
    memory = result["memory"]
    print(f"memory   {memory['tasks']} open tasks add {memory['ratio']:.3f} of their files' bytes")
    if given.single is not None:
        medians = result["medians_ms"]
        ratio = result["ratios"]["shared_vs_single"]
        print(f"latency  {medians['shared']:.2f} ms shared, {medians['single']:.2f} ms alone: {ratio:.3f}")


if __name__ == "__main__":
    main()
