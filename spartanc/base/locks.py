"""A folder held by one process at a time."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from spartanc.errors import UsageError


@contextmanager
def claimed(folder: Path, refusal: UsageError) -> Iterator[int]:
    """Hold `folder` until the end of the block or of the process; gives its descriptor.

    Raises `refusal` while another one holds it, OSError where it can't be opened.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise refusal from error
        yield descriptor
    finally:
        os.close(descriptor)
