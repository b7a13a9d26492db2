"""A bundle that answers requests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from spartanc.errors import UsageError
from spartanc.runtime_py.classifier import Classifier
from spartanc.runtime_py.data import Example
from spartanc.runtime_py.service.request import Request
from spartanc.runtime_py.session import SessionError


class Model:
    """`load` opens the bundle; once more after a program failed, as its session may be of no more use."""

    def __init__(self, load: Callable[[], Classifier]) -> None:
        self._load = load
        self._classifier = load()

    def close(self) -> None:
        self._classifier.close()

    def answer(self, request: Request) -> dict[str, Any]:
        """The members of an answer. UsageError for what can't be answered, SessionError if the program fails."""
        self._check_task(request.task)
        try:
            if request.input_ids is not None:
                return self._answer_ids(request.input_ids, request.task)
            examples = [Example(request.text or "", request.text_pair)]
            return self._classifier.answer_examples(examples, request.task)[0]
        except SessionError:
            self._classifier.close()
            self._classifier = self._load()
            raise

    def status(self) -> dict[str, Any]:
        """What a client may want to know of the bundle."""
        bundle = self._classifier.bundle
        takes = ["input_ids"] if bundle.tokenizer is None else ["text", "input_ids"]
        tasks = {"tasks": list(self._classifier.tasks), "damaged": list(bundle.damaged)}
        return {"takes": takes, "max_length": bundle.max_length} | tasks

    def _check_task(self, task: str | None) -> None:
        """By name alone: a file that a client names is none of its business."""
        if not self._classifier.bundle.is_fleet:
            if task is not None:
                raise UsageError("the bundle holds one task, so `task` has nothing to choose")
            return
        known = f"it has {', '.join(self._classifier.tasks) or 'none'}"
        if task is None:
            raise UsageError(f"the bundle is of several tasks, and a request needs `task`: {known}")
        if task not in self._classifier.tasks:
            raise UsageError(f"the bundle has no task `{task}`: {known}")

    def _answer_ids(self, input_ids: tuple[int, ...], task: str | None) -> dict[str, Any]:
        longest = self._classifier.max_length
        if len(input_ids) > longest:
            raise UsageError(f"`input_ids` has {len(input_ids)} ids, at most {longest} are taken")
        ids = np.array([input_ids], np.int64)
        return self._classifier.open(task).answer(self._classifier.logits(ids, np.ones_like(ids), task)[0])
