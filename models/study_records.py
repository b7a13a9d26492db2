"""A study's runs as lines of `runs*.jsonl`: adding one, and finding those that need not be done again.

A run need not be done again if its line says that it read the same encoder and rows, by their digests, and was trained
with the settings that it would have now. Where files lie says nothing: what they hold may have changed, or have moved.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spartanc.errors import UsageError

Comparison = tuple[str, str, int | None]  # task, method, shots
SettingsOf = Callable[["Run", int, int], dict[str, Any]]


@dataclass(frozen=True)
class Run:
    """One training. shots: number of training rows, or None for all; factor: on the method's learning rates."""

    task: str
    method: str
    shots: int | None
    seed: int
    factor: float

    @property
    def comparison(self) -> Comparison:
        return self.task, self.method, self.shots


@dataclass(frozen=True)
class Sources:
    """What runs read, by SHA-256. encoder: its files', and which pooling they ask for; data: {task: {part: …}}."""

    encoder: dict[str, str]
    data: dict[str, dict[str, str]]

    def of(self, task: str) -> dict[str, dict[str, str]]:
        """As a record keeps them."""
        return {"encoder": self.encoder, "data": self.data[task]}


@dataclass(frozen=True)
class Found:
    """records: of the runs that need not be done again. passed_over: why others were not taken, with their number."""

    records: dict[Run, dict[str, Any]]
    passed_over: dict[str, int]


def read_records(
    out: Path, wanted: Collection[Comparison], common: dict[str, Any], sources: Sources, settings_of: SettingsOf
) -> Found:
    """The runs of the comparisons `wanted` that are done.

    common: settings of all runs. settings_of: what a run is trained with now, by its rows and classes.
    """
    records: dict[Run, dict[str, Any]] = {}
    others: dict[Run, str] = {}
    unread = 0
    for record in _lines(out):
        try:
            run = Run(**record["run"])
        except (KeyError, TypeError):
            unread += 1
            continue
        if run.comparison not in wanted:
            continue
        why = _difference(run, record, common, sources, settings_of)
        if why is None:
            records[run] = record
        else:
            others[run] = why
    passed_over = Counter(why for run, why in others.items() if run not in records)
    if unread:
        passed_over["cut short, as a kill leaves a line"] = unread
    return Found(records, dict(passed_over))


def _lines(out: Path) -> Iterator[Any]:
    for path in sorted(out.glob("runs*.jsonl")):
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                yield json.loads(line)
            except ValueError:
                yield None


def _difference(
    run: Run, record: dict[str, Any], common: dict[str, Any], sources: Sources, settings_of: SettingsOf
) -> str | None:
    """Why a record is not of the run that is asked for now; None where it is."""
    names = [name for name, value in common.items() if name != "backbone" and record.get(name) != value]
    if names:
        return f"trained with other settings ({', '.join(names)})"
    read, now = record.get("digests"), sources.of(run.task)
    if read is None or record.get("classes") is None:
        return "made by an earlier version, which kept no digests of encoder and data"
    if read["encoder"] != now["encoder"]:
        return f"trained on another encoder than `{common['backbone']}` is now"
    if read["data"] != now["data"]:
        return f"trained or tested on other rows than `{run.task}` has now"
    if record["settings"] != settings_of(run, record["train_rows"], record["classes"]):
        return "trained with other rates or steps than such runs have now"
    return None


def append_record(path: Path, record: dict[str, Any]) -> None:
    """Add a line, on the disk when this returns. Raises UsageError where it can't be written."""
    try:
        with path.open("ab+") as file:
            file.write(("\n" if _is_cut(file) else "").encode() + json.dumps(record).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise UsageError(f"cannot write `{path}`: {error.strerror}") from error


def _is_cut(file: Any) -> bool:
    """Whether a kill left the last line without its end; the next run would be lost in it."""
    if file.seek(0, os.SEEK_END) == 0:
        return False
    file.seek(-1, os.SEEK_END)
    return bool(file.read(1) != b"\n")
