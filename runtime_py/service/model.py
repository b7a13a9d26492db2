"""A bundle that answers requests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from spartanc.errors import UsageError
from spartanc.runtime_py.bundle import Bundle
from spartanc.runtime_py.classifier import Classifier
from spartanc.runtime_py.data import Example
from spartanc.runtime_py.service.request import Request
from spartanc.runtime_py.session import SessionError


class Model:
    """`load` opens `bundle`, and opens it again after a program failed: its session may be of no more use."""

    def __init__(self, bundle: Bundle, load: Callable[[], Classifier]) -> None:
        self._bundle = bundle
        self._takes = ["input_ids"] if bundle.tokenizer is None else ["text", "input_ids"]
        self._load = load
        self._loaded: Classifier | None = load()

    def close(self) -> None:
        if self._loaded is not None:
            self._loaded.close()
            self._loaded = None

    def answer(self, request: Request) -> dict[str, Any]:
        """The members of an answer. UsageError for what can't be answered, SessionError if the program fails."""
        self._check_task(request.task)
        if self._loaded is None:
            self._loaded = self._load()
        try:
            if request.input_ids is not None:
                return self._answer_ids(self._loaded, request.input_ids, request.task)
            examples = [Example(request.text or "", request.text_pair)]
            return self._loaded.answer_examples(examples, request.task)[0]
        except SessionError:
            self.close()
            raise

    def status(self) -> dict[str, Any]:
        """What a client may want to know of the bundle."""
        tasks = {"tasks": self._tasks(), "damaged": list(self._bundle.damaged)}
        return {"takes": self._takes, "max_length": self._bundle.max_length} | tasks

    def _tasks(self) -> list[str]:
        return list(self._bundle.manifest["fleet"]["tasks"]) if self._bundle.is_fleet else []

    def _check_task(self, task: str | None) -> None:
        """By name alone: a file that a client names is none of its business."""
        if not self._bundle.is_fleet:
            if task is not None:
                raise UsageError("the bundle holds one task, so `task` has nothing to choose")
            return
        known = f"it has {', '.join(self._tasks()) or 'none'}"
        if task is None:
            raise UsageError(f"the bundle is of several tasks, and a request needs `task`: {known}")
        if task not in self._tasks():
            raise UsageError(f"the bundle has no task `{task}`: {known}")

    def _answer_ids(self, loaded: Classifier, input_ids: tuple[int, ...], task: str | None) -> dict[str, Any]:
        longest = self._bundle.max_length
        if len(input_ids) > longest:
            raise UsageError(f"`input_ids` has {len(input_ids)} ids, at most {longest} are taken")
        ids = np.array([input_ids], np.int64)
        return loaded.open(task).answer(loaded.rows([(ids, np.ones_like(ids))], task)[0])
