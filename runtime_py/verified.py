"""What was checked before: a bundle whose files are the ones that were hashed then need not be hashed again.

    CACHE/verified/NAME    NAME is the SHA-256 of the bundle's real path; the content, byte for byte:

        spartanc-verified 1
        SHA-256 of manifest.json
        DEVICE INODE SIZE MTIME CTIME FILE        for every file of the manifest, in its order; times in nanoseconds

The `spartan` command reads and writes the same records. The manifest itself is read and checked every time.

A change that leaves all five numbers as they were is not seen. Linux sets a file's ctime whenever its content or its
inode changes, and no program can set it back without setting the machine's clock; so that a change within one tick of
that clock is seen too, nothing is recorded of files that changed within the last two seconds.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from spartanc.runtime_py.cache import cache_directory

FOLDER = "verified"
SETTLED_NS = 2_000_000_000
_HEAD = "spartanc-verified 1\n"


class Record:
    """The record of one bundle, as it stood when this was made: make it before anything is hashed."""

    def __init__(self, bundle: Path, manifest_digest: str, names: Iterable[str], kind: str = ""):
        """kind: sets records of different checks of one bundle apart."""
        self._made_ns = time.time_ns()
        self._newest_ns = 0
        name = hashlib.sha256(os.fsencode(os.path.realpath(bundle))).hexdigest()
        self._path = cache_directory() / FOLDER / f"{name}{kind}"
        lines = [_HEAD, f"{manifest_digest}\n"]
        for each in names:
            status = os.lstat(f"{bundle}/{each}")
            self._newest_ns = max(self._newest_ns, status.st_mtime_ns, status.st_ctime_ns)
            numbers = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
            lines.append(f"{' '.join(map(str, numbers))} {each}\n")
        self._text = "".join(lines).encode("utf-8", "surrogateescape")

    def holds(self) -> bool:
        """Whether a check of exactly these files ended well before. Only this user's own record counts."""
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError:
            return False
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            ours = stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o022
            return ours and file.read(len(self._text) + 1) == self._text

    def keep(self) -> None:
        """Call when the check ended well. A cache that can't be written costs time, nothing else."""
        if self._newest_ns > self._made_ns - SETTLED_NS:
            return
        with suppress(OSError):
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor, partial = tempfile.mkstemp(dir=self._path.parent)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(self._text)
                os.replace(partial, self._path)
            except BaseException:
                os.unlink(partial)
                raise
