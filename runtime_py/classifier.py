"""A bundle, loaded: texts or token ids in, answers out. One class for a bundle of one task and a fleet of several.

    with load("bundle") as model:
        model.classify(["how far is Denver?"])
    with load("fleet") as model:
        model.classify(["how far is Denver?"], task="questions")

The program is loaded once. A task of a fleet is a mapped file and a table of pointers into it; going from one task to
the next means handing the program another table, so a batch whose rows belong to different tasks costs what rows of
one task cost.

Threads may share a Classifier, with the same or different tasks. A session runs one row at a time; `sessions` says how
many there are, and so how many rows run at once. With one session, threads take turns row by row.

Needs numpy and tokenizers, no torch. Legend: B rows, L tokens, C outputs of the model.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from spartanc.errors import UsageError
from spartanc.runtime_py.bundle import Bundle
from spartanc.runtime_py.data import Example, as_examples, require_texts
from spartanc.runtime_py.encoding import encode_examples
from spartanc.runtime_py.ids import check_ids
from spartanc.runtime_py.prediction import Prediction, Text
from spartanc.runtime_py.session import BoundInputs, Session, SessionError
from spartanc.runtime_py.session_pool import SessionPool
from spartanc.runtime_py.task_file import TaskFile, check_probe, find_task
from spartanc.runtime_py.text import TextEncoder
from spartanc.runtime_py.trial import COMMAND, try_apart

TaskName = str | os.PathLike[str]  # a task of the fleet, or the path of a task's file


@dataclass(frozen=True)
class OpenTask:
    """A task that passed every check, its probe included; its tensors stay mapped while it is open.

    file: None for a bundle of one task.
    """

    bundle: Bundle
    inputs: BoundInputs
    file: TaskFile | None = None

    def answer(self, logits_C: np.ndarray) -> dict[str, Any]:
        return self.bundle.answer(logits_C)


class Classifier:
    """A loaded bundle; `spartanc.load` makes one. Use as a context manager, or call `close`."""

    def __init__(self, bundle: Bundle, *, library: Path, threads: int | None = None, sessions: int = 1) -> None:
        """Load the program of `bundle`, which was checked, with the native library at `library`.

        A program not seen before is first loaded in a separate process; then its self-test must pass. Raises
        UsageError if either fails.
        """
        self.bundle = bundle
        self._opening = threading.Lock()
        self._open: dict[str | Path, OpenTask] = {}
        self._only = None if bundle.is_fleet else OpenTask(bundle, BoundInputs(()))
        tokenizer = bundle.tokenizer
        self._encoder = None if tokenizer is None else TextEncoder(tokenizer, bundle.max_length)
        try_apart(bundle, library.with_name(COMMAND))
        self._pool = SessionPool(
            bundle.program, library=library, threads=threads, count=sessions, manifest=bundle.manifest
        )
        try:
            if self._only is not None:
                self._test_itself(self._only)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Classifier:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the program, when the rows that are running have ended; calls that come later are refused."""
        self._pool.close()
        with self._opening:
            self._open.clear()

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks that a fleet holds; () for a bundle of one task."""
        return tuple(self.bundle.manifest["fleet"]["tasks"]) if self.bundle.is_fleet else ()

    @property
    def max_length(self) -> int:
        """The longest input in tokens; longer texts are cut."""
        return self.bundle.max_length

    @property
    def sessions(self) -> tuple[Session, ...]:
        """For measurements; a session that a call is using must not be used by another."""
        return self._pool.all

    def labels(self, task: TaskName | None = None) -> tuple[str, ...]:
        """Class names of the task, in the order of its logits; () for a regression."""
        return self.open(task).bundle.labels

    def classify(self, texts: Sequence[Text], task: TaskName | Sequence[TaskName] | None = None) -> list[Prediction]:
        """The answer for every text, in order.

        texts: a list whose entries are texts or pairs (tuples of two texts), as the model was trained.
        task: of a fleet, for all texts, or a list with one for each.

        Raises UsageError for anything else as `texts`, one text without its list included; with the row, for an empty
        text, and for one text if the model takes two or two if it takes one; for a task that does not exist, that a
        fleet needs, or that a bundle of one task is given; SessionError if the program fails.
        """
        rows = as_texts(texts)
        return [Prediction.of(text, each) for text, each in zip(rows, self.answers(rows, task), strict=True)]

    def logits(
        self, input_ids: npt.ArrayLike, attention_mask: npt.ArrayLike, task: TaskName | None = None
    ) -> npt.NDArray[np.float32]:
        """Logits float32 [B, C] of token ids and their mask, int64 [B, L] each.

        The mask is 1 for a token and 0 for padding. Each row runs at the length of its mask, so padding costs nothing.
        Raises UsageError if shapes, types, ids or lengths are not what the program takes; SessionError if it fails.
        """
        ids_BL, mask_BL = _integers("input_ids", input_ids), _integers("attention_mask", attention_mask)
        if ids_BL.shape != mask_BL.shape:
            raise UsageError(f"`input_ids` is {list(ids_BL.shape)} and `attention_mask` {list(mask_BL.shape)}")
        if not np.isin(mask_BL, (0, 1)).all():
            raise UsageError("`attention_mask` must hold 1 for a token and 0 for padding, and nothing else")
        chosen = self.open(task)
        if (vocabulary := self.bundle.vocabulary_size) is not None:
            for i, ids_L in enumerate(ids_BL):
                kept = int(np.flatnonzero(mask_BL[i]).max(initial=-1)) + 1
                check_ids(ids_L[:kept], vocabulary, f"row {i + 1}: ")
        rows = [self._run(ids_BL[i : i + 1], mask_BL[i : i + 1], chosen) for i in range(len(ids_BL))]
        return np.stack(rows) if rows else np.zeros((0, len(chosen.bundle.labels) or 1), np.float32)

    def answers(self, texts: Sequence[Text], task: TaskName | Sequence[TaskName] | None = None) -> list[dict[str, Any]]:
        """As `classify`, each answer in the form of `spartanc run --json`, without its text."""
        return self.answer_examples(as_examples(texts), task)

    def answer_examples(
        self,
        examples: Sequence[Example],
        task: TaskName | Sequence[TaskName] | None = None,
        source: str | Path | None = None,
    ) -> list[dict[str, Any]]:
        """As `answers`, of rows that were read from the file `source`, which errors name."""
        if self._encoder is None:
            raise UsageError(
                f"bundle `{self.bundle.path}` came from a model without a tokenizer, so it takes no text",
                hint="give token ids to `logits`",
            )
        tasks = self.tasks_for(len(examples), task)
        for example, chosen in zip(examples, tasks, strict=True):
            require_texts([example], chosen.bundle.pairs, source)
        answers = []
        rows = encode_examples(examples, self._encoder, source, allow_empty=False)
        for encoded, chosen in zip(rows, tasks, strict=True):
            ids = np.array([encoded.ids], np.int64)
            found = chosen.answer(self._run(ids, np.ones_like(ids), chosen))
            answers.append(found | {"truncated": encoded.truncated})
        return answers

    def rows(
        self, rows: Sequence[tuple[np.ndarray, np.ndarray]], task: TaskName | Sequence[TaskName] | None = None
    ) -> list[np.ndarray]:
        """Logits float32 [C] of every row of ids and mask (int64 [1, L] each), in order; `task` as for `classify`."""
        tasks = self.tasks_for(len(rows), task)
        return [self._run(ids, mask, chosen) for (ids, mask), chosen in zip(rows, tasks, strict=True)]

    def open(self, task: TaskName | None = None) -> OpenTask:
        """Map a task of a fleet, check it and run its probe; at once if it is open already.

        Raises UsageError if anything of it disagrees with this fleet, or if a fleet is given no task name.
        """
        if self._only is not None:
            if task is not None:
                raise UsageError(
                    f"`{self.bundle.path}` holds one task, so `task` has nothing to choose, got `{task}`",
                    hint="`spartanc compile --shared-backbone` makes a bundle of several tasks",
                )
            return self._only
        if task is None:
            names = ", ".join(self.tasks) or "none"
            raise UsageError(f"`{self.bundle.path}` holds several tasks: {names}", hint="name one as `task`")
        key = self._key(task)
        found = self._open.get(key)
        if found is not None:
            return found
        with self._opening:
            found = self._open.get(key)
            if found is None:
                file = find_task(self.bundle, task if isinstance(task, str) else Path(task))
                bundle = self.bundle.for_task(file.task_type, file.labels, file.pairs)
                found = OpenTask(bundle, BoundInputs(file.tensors.values()), file)
                self._test_itself(found)
                self._open[key] = found
        return found

    def forget(self, task: TaskName) -> None:
        """Let go of an open task; its file is unmapped when no call uses it any more."""
        self._open.pop(self._key(task), None)

    def tasks_for(self, count: int, task: TaskName | Sequence[TaskName] | None) -> list[OpenTask]:
        """The task of each of `count` rows; UsageError if a list of another length is given."""
        if task is None or isinstance(task, str | os.PathLike):
            return [self.open(task)] * count
        if len(task) != count:
            raise UsageError(f"{len(task)} tasks given for {count} rows")
        return [self.open(each) for each in task]

    def _key(self, task: TaskName) -> str | Path:
        """A task's name, or the absolute path of its file, which may be called like another task."""
        return task if isinstance(task, str) and task in self.tasks else Path(os.path.abspath(task))

    def _run(self, ids: np.ndarray, mask: np.ndarray, task: OpenTask, keep_padding: bool = False) -> np.ndarray:
        with self._pool.taken() as session:
            logits: np.ndarray = session.run(ids, mask, task.inputs, keep_padding=keep_padding)[0]
        return logits

    def _test_itself(self, task: OpenTask) -> None:
        """Run the probe of a task; UsageError unless the program gives the logits that were recorded."""
        if task.file is None:
            probe = self.bundle.probe
            wrong = probe.misses(self._run(probe.input_ids, probe.attention_mask, task, keep_padding=True))
            if wrong is not None:
                raise UsageError(f"bundle `{self.bundle.path}`: {wrong}")
            return
        probe = task.file.probe
        try:
            logits = self._run(probe.input_ids, probe.attention_mask, task)
        except SessionError as error:
            raise UsageError(f"task file `{task.file.path}`: its probe can't be run: {error.message}") from error
        check_probe(task.file, logits)


def as_texts(texts: Sequence[Text]) -> list[Text]:
    """`texts` as a list, each entry a text or a tuple of two; UsageError, with the entry, for anything else.

    One text, or one pair, without its list is refused: it would be taken for its characters, or for two texts.
    """
    if isinstance(texts, str | bytes | tuple | Mapping) or not hasattr(texts, "__iter__"):
        raise UsageError(
            f"expected a list of texts, got one {type(texts).__name__}",
            hint='`classify(["a text"])`; for a pair `classify([("one", "other")])`',
        )
    rows: list[Text] = []
    for number, text in enumerate(texts, start=1):
        if isinstance(text, tuple) and len(text) == 2 and all(isinstance(each, str) for each in text):
            rows.append((str(text[0]), str(text[1])))
        elif isinstance(text, str):
            rows.append(str(text))
        else:
            raise UsageError(f"text {number} is neither a text nor a tuple of two, got `{text!r:.60}`")
    return rows


def _integers(name: str, values: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """`values` as int64 [B, L]; UsageError if they are anything that loses by that."""
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise UsageError(f"`{name}` is no array: {error}") from error
    if array.dtype.kind not in "iub":
        raise UsageError(f"`{name}` must hold whole numbers (int64), got {array.dtype}")
    if array.ndim != 2:
        raise UsageError(f"`{name}` must be [B, L], got {list(array.shape)}", hint="a single row is [1, L]")
    return array.astype(np.int64)
