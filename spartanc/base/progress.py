"""Progress on stderr: a spinner while a stage runs, one line with its time when it is done."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

_console = Console(stderr=True, highlight=False)


def say(text: str) -> None:
    """One line for the reader; never results."""
    _console.print(text, markup=False)


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Show that `name` is under way; on a terminal with a spinner, else by its closing line alone."""
    start = time.monotonic()
    with _console.status(name):
        yield
    _console.print(f"[green]✓[/green] {name:<44}{time.monotonic() - start:7.1f} s")
