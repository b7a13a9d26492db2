"""A server in a process of its own, native or Python, and clients of it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from spartanc.models.checkpoint import TrainedModel
from spartanc.runtime_py.build import COMMAND
from support.compiled import MAX_LENGTH, softmax

KINDS = ("native", "python")
TASKS = ("three", "score", "several")
START_SECONDS = 60  # a busy machine may take long to start Python


Question = tuple[dict[str, Any], dict[str, Any]]  # a request without its id, and the expected answer


@dataclass(frozen=True)
class Fleet:
    """A compiled fleet of TASKS, the folder of `spartan` and `run.py`, and the models that it came from."""

    path: Path
    runtime: Path
    models: Mapping[str, TrainedModel]

    def expected(self, task: str, ids: list[int]) -> dict[str, Any]:
        """The answer of eager PyTorch, as the protocol has it; without `id`."""
        row = torch.tensor([ids])
        with torch.inference_mode():
            logits = self.models[task].module(row, torch.ones_like(row))[0].numpy()
        if task == "score":
            return {"label": None, "score": float(logits[0])}
        labels = self.models[task].labels
        if task == "several":
            scores = 1 / (1 + np.exp(-logits.astype(np.float64)))
            above = [
                label for label, score in zip(labels, scores, strict=True) if score > self.models[task].thresholds[0]
            ]
            return {"label": None, "labels": above, "scores": dict(zip(labels, scores.tolist(), strict=True))}
        return {"label": labels[logits.argmax()], "scores": dict(zip(labels, softmax(logits), strict=True))}

    def questions(self, count: int, seed: int = 23, longest: int = MAX_LENGTH) -> list[Question]:
        """(request without its id, expected answer) of random rows."""
        generator = np.random.default_rng(seed)
        vocabulary = next(iter(self.models.values())).vocabulary_size
        found = []
        for _ in range(count):
            task = str(generator.choice(TASKS))
            ids = generator.integers(4, vocabulary, int(generator.integers(1, longest + 1))).tolist()
            found.append(({"task": task, "input_ids": ids}, self.expected(task, ids)))
        return found


def require_same(answer: dict[str, Any] | None, id: str | int, expected: dict[str, Any]) -> None:
    """AssertionError unless `answer` is the expected one, to the request `id`."""
    assert answer is not None, f"no answer to {id}"
    assert answer.get("id") == id and set(answer) == {"id", *expected}, answer
    assert answer["label"] == expected["label"], (answer, expected)
    if "score" in expected:
        assert abs(answer["score"] - expected["score"]) < 1e-4
        return
    assert answer.get("labels") == expected.get("labels"), (answer, expected)
    assert list(answer["scores"]) == list(expected["scores"])
    assert max(abs(answer["scores"][each] - score) for each, score in expected["scores"].items()) < 1e-5


def line_of(**request: Any) -> bytes:
    return json.dumps(request).encode() + b"\n"


class Served:
    """A running server. runtime: the folder of `spartan` and `run.py`."""

    def __init__(self, kind: str, runtime: Path, bundle: Path, path: Path, *words: str, **environment: str) -> None:
        self.path = path
        self.process = subprocess.Popen(
            [*command(kind, runtime, bundle, path), *words],
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env=os.environ | environment,
        )

    def wait_until_ready(self) -> Served:
        """As a client can: whoever may connect gets answers."""
        end = time.monotonic() + START_SECONDS
        while True:
            try:
                with Client(self.path) as client:
                    assert client.ask(id=0, ask="status")["status"] == "ready"
                return self
            except (FileNotFoundError, ConnectionRefusedError):
                assert self.process.poll() is None, self.process.communicate()[1]
                assert time.monotonic() < end
                time.sleep(0.02)

    def stop(self) -> int:
        """SIGTERM; returns the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.communicate(timeout=30)
        return self.process.returncode


def command(kind: str, runtime: Path, bundle: Path, path: Path) -> list[str]:
    if kind == "native":
        return [str(runtime / COMMAND), "serve", str(bundle), "--socket", str(path), "--threads", "1"]
    python = [sys.executable, str(runtime / "run.py"), "serve", "--bundle", str(bundle)]
    return [*python, "--socket", str(path), "--threads", "1"]


@contextmanager
def served(*arguments: Any, **options: Any) -> Iterator[Served]:
    server = Served(*arguments, **options)
    try:
        yield server.wait_until_ready()
    finally:
        server.process.kill()
        server.process.communicate()


class Client:
    """One connection. Raises socket.timeout where an answer does not come."""

    def __init__(self, path: Path, seconds: float = 30) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(seconds)
        try:
            self.socket.connect(str(path))
        except OSError:
            self.socket.close()
            raise
        self._answers = self.socket.makefile("rb")

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_error: object) -> None:
        self._answers.close()
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def ask(self, **request: Any) -> dict[str, Any]:
        return self.ask_line(json.dumps(request).encode())

    def ask_line(self, line: bytes) -> dict[str, Any]:
        self.send(line + b"\n")
        answer = self.answer()
        assert answer is not None, "the server closed the connection"
        return answer

    def answer(self) -> dict[str, Any] | None:
        """The next answer; None at the end of the connection."""
        line = self._answers.readline()
        if not line:
            return None
        assert line.endswith(b"\n")
        answer = json.loads(line)
        assert isinstance(answer, dict)
        return answer


def load(path: Path, questions: list[Question], clients: int, each: int) -> None:
    """`clients` at once, the first with one request under way, the next with 5 and so on: answers are their own."""
    failures: list[BaseException] = []

    def work(which: int) -> None:
        try:
            with Client(path) as client:
                sent = 0
                for number in range(each):
                    while sent < min(each, number + 1 + 4 * which):
                        request = questions[(sent * 7 + which) % len(questions)][0]
                        client.send(line_of(id=f"{which}-{sent}", **request))
                        sent += 1
                    require_same(
                        client.answer(), f"{which}-{number}", questions[(number * 7 + which) % len(questions)][1]
                    )
                client.socket.shutdown(socket.SHUT_WR)
                assert client.answer() is None
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(which,)) for which in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
