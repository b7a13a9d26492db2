"""Several tasks answered by one loaded program: `Fleet(path).classify(texts, task="news")`. Needs no torch.

    with Fleet("fleet/") as fleet:
        fleet.classify(["when will it arrive"], task="intents")
        fleet.classify(["a dull film", "who wrote it"], task=["films", "questions"])

The program is loaded once. A task is a mapped file and a table of pointers into it; going from one task to the next
means handing the program another table, so a batch whose rows belong to different tasks goes through in one pass, row
by row in its order, and costs what rows of one task cost.

Threads: a Fleet may be used by any number of threads, with the same or different tasks. A session runs one row at a
time; `sessions` says how many there are, and so how many rows run at once (each further one shares the packed weights
and takes the program's activations again). With one session, threads take turns row by row.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spartanc.errors import UsageError
from spartanc.runtime_py.answer import answer
from spartanc.runtime_py.bundle import Bundle, open_bundle
from spartanc.runtime_py.session import BoundInputs, Session, SessionError
from spartanc.runtime_py.task_file import TaskFile, check_probe, find_task
from spartanc.runtime_py.text import TextEncoder
from spartanc.runtime_py.trial import COMMAND, try_apart

LIBRARY = "libspartan.so"

Text = str | tuple[str, str]  # one text, or a pair
Row = tuple[np.ndarray, np.ndarray]  # ids and mask, int64 [1, L] each
TaskName = str | Path  # a task of the fleet, or a task's file


@dataclass(frozen=True)
class OpenTask:
    """A task that passed every check, its probe included; its tensors stay mapped while it is open."""

    file: TaskFile
    bundle: Bundle
    inputs: BoundInputs

    def answer(self, logits: np.ndarray) -> dict[str, Any]:
        return answer(self.bundle, logits)


class Fleet:
    """A fleet's program, loaded, and the tasks that were opened. Use as a context manager, or call `close`."""

    def __init__(
        self,
        path: str | Path,
        *,
        library: str | Path | None = None,
        threads: int | None = None,
        sessions: int = 1,
        require_signature: Path | None = None,
    ):
        """Check the bundle at `path` whole and load its program.

        library: libspartan.so; the one of this machine, built if need be, where none is given.
        threads: of the pool that all sessions of this process share.
        require_signature: a public key, with whose other half the bundle must be signed.
        Raises UsageError where the bundle is altered or no fleet.
        """
        if sessions < 1:
            raise UsageError(f"`sessions` must be at least 1, got `{sessions}`")
        self.bundle = open_bundle(path, require_signature=require_signature)
        if not self.bundle.is_fleet:
            raise UsageError(f"`{path}` holds one task over a backbone of its own, so it is no fleet")
        self._open: dict[str, OpenTask] = {}
        self._opening = threading.Lock()
        self._encoder = (
            None if self.bundle.tokenizer is None else TextEncoder(self.bundle.tokenizer, self.bundle.max_length)
        )
        where = _host_library() if library is None else Path(library)
        try_apart(self.bundle, where.with_name(COMMAND))
        self._all: list[Session] = []
        self._free: queue.LifoQueue[Session] = queue.LifoQueue()
        try:
            for _ in range(sessions):
                program = self.bundle.program
                session = Session(
                    program,
                    library=where,
                    threads=threads,
                    weight_cache=sessions > 1,
                    manifest=self.bundle.manifest,
                )
                self._all.append(session)
                self._free.put(session)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Fleet:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """No call may be under way."""
        for session in self._all:
            session.close()
        self._all.clear()
        self._open.clear()

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks that the bundle holds, open or not."""
        return tuple(self.bundle.manifest["fleet"]["tasks"])

    @property
    def sessions(self) -> tuple[Session, ...]:
        """For measurements; a session that a call is using must not be used by another."""
        return tuple(self._all)

    def open(self, task: TaskName) -> OpenTask:
        """Map a task, check it, run its probe; at once where it is open already.

        Raises UsageError where anything of it disagrees with this fleet.
        """
        key = str(task)
        found = self._open.get(key)
        if found is not None:
            return found
        with self._opening:
            found = self._open.get(key)
            if found is None:
                file = find_task(self.bundle, task)
                bundle = self.bundle.for_task(file.problem, file.labels)
                found = OpenTask(file, bundle, BoundInputs(file.tensors.values()))
                check_probe(file, self._probed(file, found))
                self._open[key] = found
        return found

    def _probed(self, file: TaskFile, task: OpenTask) -> np.ndarray:
        try:
            return self._run(file.probe.input_ids, file.probe.attention_mask, task)
        except SessionError as error:
            raise UsageError(f"task file `{file.path}`: its probe can't be run: {error.message}") from error

    def forget(self, task: TaskName) -> None:
        """Let go of an open task; its file is unmapped when no call uses it any more."""
        self._open.pop(str(task), None)

    def classify(self, texts: Sequence[Text], task: TaskName | Sequence[TaskName]) -> list[dict[str, Any]]:
        """Label and scores (or a regression's score) of every text, in order.

        task: for all texts, or one for each.
        """
        if self._encoder is None:
            raise UsageError(f"fleet `{self.bundle.path}` came from models without a tokenizer, so it takes no text")
        tasks = self._tasks_for(len(texts), task)
        answers = []
        for text, chosen in zip(texts, tasks, strict=True):
            encoded = self._encoder.encode(*((text,) if isinstance(text, str) else text))
            ids = np.array([encoded.ids], np.int64)
            answers.append(chosen.answer(self._run(ids, np.ones_like(ids), chosen)))
        return answers

    def logits(self, rows: Sequence[Row], task: TaskName | Sequence[TaskName]) -> list[np.ndarray]:
        """Logits float32 [C] of every row of ids and mask, in order; task as for `classify`."""
        tasks = self._tasks_for(len(rows), task)
        return [self._run(ids, mask, chosen) for (ids, mask), chosen in zip(rows, tasks, strict=True)]

    def _tasks_for(self, count: int, task: TaskName | Sequence[TaskName]) -> list[OpenTask]:
        if isinstance(task, str | Path):
            return [self.open(task)] * count
        if len(task) != count:
            raise UsageError(f"{len(task)} tasks given for {count} rows")
        return [self.open(each) for each in task]

    def _run(self, ids: np.ndarray, mask: np.ndarray, task: OpenTask) -> np.ndarray:
        if not self._all:
            raise UsageError("the fleet is closed")
        session = self._free.get()
        try:
            return session.run(ids, mask, task.inputs)[0]
        finally:
            self._free.put(session)


def _host_library() -> Path:
    from spartanc.runtime_py.build import build_runtime  # boards, which give `library`, have no such module

    return build_runtime("host") / LIBRARY
