"""Timing rivals in turns: one process each, stopped while it is not its turn.

Threads that spin between runs, heaps and caches of one rival then cost no other one anything, and whatever else the
machine does falls on all of them alike. A turn is one run that does not count, then the ones that do.
"""

from __future__ import annotations

import json
import os
import random
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

FIRST_ID, LAST_ID = 1000, 2000  # ids of words in every vocabulary that is used here


@dataclass(frozen=True)
class Rival:
    """What a process loads. kind: `session` (a .pte, this project's runtime), `onnx`, or `eager`, whose file is a
    function of `rivals.py` that builds the module.
    """

    name: str
    kind: str
    file: str
    options: dict[str, Any] = field(default_factory=dict)


class Process:
    """A rival, loaded, and stopped until it is asked to run."""

    def __init__(self, rival: Rival, threads: int):
        words = [sys.executable, __file__, json.dumps(asdict(rival)), str(threads)]
        environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
        self._process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        loaded = self._answer()
        self.load_ms, self._before_mb = float(loaded["load_ms"]), float(loaded["before_mb"])
        self._process.send_signal(signal.SIGSTOP)

    def run(self, length: int, runs: int, warmup: int = 1) -> list[float]:
        """Milliseconds of every run."""
        assert self._process.stdin is not None
        self._process.send_signal(signal.SIGCONT)
        self._process.stdin.write(json.dumps({"length": length, "runs": runs, "warmup": warmup}) + "\n")
        self._process.stdin.flush()
        answer = self._answer()
        self._process.send_signal(signal.SIGSTOP)
        return answer["ms"]

    @property
    def peak_mb(self) -> float:
        """How much the process has grown at most since before it loaded."""
        return _resident_mb("VmHWM", self._process.pid) - self._before_mb

    def close(self) -> None:
        self._process.send_signal(signal.SIGCONT)
        self._process.kill()
        self._process.wait()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"a rival ended with status {self._process.wait()}: {self._process.args}")
        return json.loads(line)


def measure(
    rivals: Sequence[Rival], lengths: Sequence[int], *, threads: int, rounds: int, runs: int = 3
) -> tuple[dict[str, dict[int, list[float]]], dict[str, float]]:
    """Milliseconds of every counted run by rival and length, and by how many MB every rival grew."""
    processes: dict[str, Process] = {}
    times: dict[str, dict[int, list[float]]] = {rival.name: {length: [] for length in lengths} for rival in rivals}
    try:
        for rival in rivals:
            processes[rival.name] = Process(rival, threads)
            for length in lengths:
                processes[rival.name].run(length, 1)
        order = list(processes)
        generator = random.Random(0)
        for number in range(rounds):
            print(f"round {number + 1} of {rounds}", file=sys.stderr)
            for length in lengths:
                generator.shuffle(order)
                for name in order:
                    times[name][length] += processes[name].run(length, runs)
        return times, {name: process.peak_mb for name, process in processes.items()}
    finally:
        for process in processes.values():
            process.close()


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def p95(values: Sequence[float]) -> float:
    return float(np.percentile(values, 95))


def table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, its first column to the left."""
    widths = [max(len(row[i]) for row in (titles, *rows)) for i in range(len(titles))]

    def line(row: Sequence[str]) -> str:
        cells = [
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        return f"| {' | '.join(cells)} |"

    rule = "|" + "|".join("-" * (width + 1) + (":" if i else "-") for i, width in enumerate(widths)) + "|"
    return "\n".join([line(titles), rule, *(line(row) for row in rows)])


Run = Callable[[np.ndarray, np.ndarray], object]


# Each brings what it needs and gives the function that loads; only that is timed.


def _session(rival: Rival, threads: int) -> Callable[[], Run]:
    from spartanc.runtime_py.build import LIBRARY, build_runtime
    from spartanc.runtime_py.session import Session

    library = build_runtime("host") / LIBRARY
    return lambda: Session(rival.file, library=library, threads=threads, **rival.options).run


def _onnx(rival: Rival, threads: int) -> Callable[[], Run]:
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads

    def load() -> Run:
        session = onnxruntime.InferenceSession(rival.file, settings, providers=["CPUExecutionProvider"])
        return lambda ids, mask: session.run(None, {"input_ids": ids, "attention_mask": mask})

    return load


def _eager(rival: Rival, threads: int) -> Callable[[], Run]:
    import rivals
    import torch

    torch.set_num_threads(threads)

    def load() -> Run:
        module = getattr(rivals, rival.file)(**rival.options)

        def run(ids: np.ndarray, mask: np.ndarray) -> object:
            with torch.inference_mode():
                return module(torch.from_numpy(ids), torch.from_numpy(mask))

        return run

    return load


def _resident_mb(kind: str, process: int | str = "self") -> float:
    """kind: `VmRSS`, now, or `VmHWM`, at most so far."""
    with open(f"/proc/{process}/status") as status:
        return int(next(line for line in status if line.startswith(f"{kind}:")).split()[1]) / 1024


def serve(rival: Rival, threads: int) -> None:
    """Load, say how long that took, then run as asked, line by line."""
    load = {"session": _session, "onnx": _onnx, "eager": _eager}[rival.kind](rival, threads)
    before = _resident_mb("VmRSS")
    start = time.perf_counter()
    run = load()
    print(json.dumps({"load_ms": 1e3 * (time.perf_counter() - start), "before_mb": before}), flush=True)
    generator = np.random.default_rng(0)
    for line in sys.stdin:
        asked = json.loads(line)
        ids = generator.integers(FIRST_ID, LAST_ID, (1, asked["length"]), dtype=np.int64)
        mask = np.ones_like(ids)
        times = []
        for _ in range(asked["warmup"] + asked["runs"]):
            start = time.perf_counter()
            run(ids, mask)
            times.append(1e3 * (time.perf_counter() - start))
        print(json.dumps({"ms": times[asked["warmup"] :]}), flush=True)


if __name__ == "__main__":
    serve(Rival(**json.loads(sys.argv[1])), int(sys.argv[2]))
