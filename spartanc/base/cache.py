"""The per-user cache: built native code, and what `spartanc setup` brought."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from spartanc.errors import MissingToolError


def cache_directory() -> Path:
    """`$SPARTANC_CACHE`, else `$XDG_CACHE_HOME/spartanc`, else `~/.cache/spartanc`; not created."""
    own = os.environ.get("SPARTANC_CACHE")
    if own:
        return Path(own)
    shared = os.environ.get("XDG_CACHE_HOME")
    return (Path(shared) if shared else Path.home() / ".cache") / "spartanc"


@contextmanager
def locked(name: str) -> Iterator[Path]:
    """Hold the cache's lock called `name` against other processes; gives the cache directory, created."""
    directory = cache_directory()
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = (directory / f"{name}.lock").open("w")
    except OSError as error:
        raise MissingToolError(
            f"the cache `{directory}` can't be written: {error.strerror}",
            hint="set `SPARTANC_CACHE` to a directory",
        ) from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # released when the file closes, also when the process dies
        yield directory
