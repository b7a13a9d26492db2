"""Sessions of one program that any number of threads take turns with."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from spartanc.errors import UsageError
from spartanc.runtime_py.session import Session


class SessionPool:
    """`count` sessions: so many rows run at once, and threads beyond that wait for the next free one.

    Each further session shares the packed weights and takes the program's activations again.
    """

    def __init__(
        self, program: Path, *, library: Path, threads: int | None, count: int, manifest: Mapping[str, Any]
    ) -> None:
        """Load `program` `count` times, at least once; the other arguments are those of `Session`."""
        if count < 1:
            raise UsageError(f"`sessions` must be at least 1, got `{count}`")
        self._changed = threading.Condition()
        self._closed = False
        self._all: list[Session] = []
        self._free: list[Session] = []
        try:
            for _ in range(count):
                session = Session(program, library=library, threads=threads, weight_cache=count > 1, manifest=manifest)
                self._all.append(session)
        finally:
            self._free.extend(self._all)
            if len(self._all) < count:
                self.close()

    @property
    def all(self) -> tuple[Session, ...]:
        """For measurements; a session that a call is using must not be used by another."""
        return tuple(self._all)

    @contextmanager
    def taken(self) -> Iterator[Session]:
        """A session that is nobody else's until the end of the block; UsageError once the pool is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._free or self._closed)
            if self._closed:
                raise UsageError("the bundle is closed")
            session = self._free.pop()
        try:
            yield session
        finally:
            with self._changed:
                self._free.append(session)
                self._changed.notify_all() if self._closed else self._changed.notify()

    def close(self) -> None:
        """Wait for the rows that are running, then let go of the program. Rows that still wait are refused."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: len(self._free) == len(self._all))
            for session in self._all:
                session.close()
            self._all.clear()
            self._free.clear()
