"""Progress on stderr: a spinner while a stage runs, one line with its time when it is done."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from rich.console import Console
from rich.markup import escape

_console = Console(stderr=True, highlight=False, force_jupyter=False)  # a notebook's stderr is stderr too
_is_silenced: ContextVar[bool] = ContextVar("is_silenced", default=False)


@contextmanager
def silenced() -> Iterator[None]:
    """No progress until the end of the block, in this thread."""
    token = _is_silenced.set(True)
    try:
        yield
    finally:
        _is_silenced.reset(token)


def is_silenced() -> bool:
    """Whether progress is not to be shown in this thread."""
    return _is_silenced.get()


def say(text: str) -> None:
    """One line for the reader; never results."""
    if not _is_silenced.get():
        _console.print(text, markup=False, soft_wrap=True)  # a log's lines are as long as they are


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Show that `name` is under way; on a terminal with a spinner, else by its closing line alone."""
    if _is_silenced.get():
        yield
        return
    start = time.monotonic()
    with _console.status(escape(name)):  # a file's name may hold brackets
        yield
    _console.print(f"[green]✓[/green] {escape(f'{name:<44}')}{time.monotonic() - start:7.1f} s")
