"""Several tasks answered by one loaded program: `Fleet(path).classify(texts, task="news")`. Needs no torch.

    with Fleet("fleet/") as fleet:
        fleet.classify(["when will it arrive"], task="intents")
        fleet.classify(["a dull film", "who wrote it"], task=["films", "questions"])

A `spartanc.runtime_py.classifier.Classifier` that is a fleet, with plain values for answers. New programs use
`spartanc.load`, which loads single bundles too.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from spartanc.errors import UsageError
from spartanc.runtime_py.build import LIBRARY
from spartanc.runtime_py.bundle import open_bundle
from spartanc.runtime_py.classifier import Classifier, OpenTask, TaskName, as_texts
from spartanc.runtime_py.local_runtime import local_runtime
from spartanc.runtime_py.prediction import Text
from spartanc.runtime_py.session import Session

Row = tuple[np.ndarray, np.ndarray]  # ids and mask, int64 [1, L] each


class Fleet:
    """A fleet's program, loaded, and the tasks that were opened. Use as a context manager, or call `close`.

    Threads may share one; see `Classifier`.
    """

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

        library: libspartan.so; by default the bundle's own if it is for this processor, else this machine's.
        The other arguments are those of `spartanc.load`. Raises UsageError if the bundle is altered or no fleet.
        """
        self.bundle = open_bundle(path, require_signature=require_signature, task_by_task=True)
        if not self.bundle.is_fleet:
            raise UsageError(f"`{path}` holds one task over a backbone of its own, so it is no fleet")
        where = local_runtime(self.bundle.path) / LIBRARY if library is None else Path(library)
        self._model = Classifier(self.bundle, library=where, threads=threads, sessions=sessions)

    def __enter__(self) -> Fleet:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """See `Classifier.close`."""
        self._model.close()

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks that the bundle holds, open or not."""
        return self._model.tasks

    @property
    def sessions(self) -> tuple[Session, ...]:
        """For measurements; a session that a call is using must not be used by another."""
        return self._model.sessions

    def open(self, task: TaskName) -> OpenTask:
        """See `Classifier.open`."""
        return self._model.open(task)

    def forget(self, task: TaskName) -> None:
        """See `Classifier.forget`."""
        self._model.forget(task)

    def classify(self, texts: Sequence[Text], task: TaskName | Sequence[TaskName]) -> list[dict[str, Any]]:
        """Label and scores (or a regression's score) of every text, in order; see `Classifier.classify`."""
        return self._model.answers(as_texts(texts), task)

    def logits(self, rows: Sequence[Row], task: TaskName | Sequence[TaskName]) -> list[np.ndarray]:
        """Logits float32 [C] of every row of ids and mask, in order; task as for `classify`."""
        return self._model.rows(rows, task)
