"""What was checked before: a bundle whose files are the ones that were hashed then need not be hashed again.

    CACHE/verified/NAME    NAME is `DEVICE-INODE` of the bundle's directory; the content, byte for byte:

        spartanc-verified 2
        DEVICE INODE SIZE MTIME CTIME FILE        for manifest.json, manifest.sha256 and every file of the manifest, in
                                                  its order; times in nanoseconds

The `spartan` command reads and writes the same records. What the manifest says is read and checked every time; that its
digest is the right one, and that of every file, is what a record stands for.

A change that leaves all five numbers as they were is not seen. Linux sets a file's ctime whenever its content or its
inode changes, and no program can set it back without setting the machine's clock; so that a change within one tick of
that clock is seen too, nothing is recorded of files that changed within the last two seconds. A record is written when
its files are on the disk: else a loss of power could take their content, and leave the numbers and the record.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from spartanc.base.cache import cache_directory
from spartanc.base.files import sync_path, whole_file

FOLDER = "verified"
SETTLED_NS = 2_000_000_000
LARGEST = 4 << 20  # bytes; a real one holds a few hundred
_HEAD = "spartanc-verified 2\n"


class Record:
    """The record of one bundle. Make it, and add to it, before what it stands for is read."""

    def __init__(self, bundle: str | Path, names: Iterable[str], kind: str = ""):
        """Read what is kept of `bundle`, and look at its files `names`, with which a record begins.

        kind: sets records of different checks of one bundle apart. Raises OSError where a file is missing.
        """
        self._made_ns = time.time_ns()
        self._newest_ns = 0
        self._bundle = bundle
        self._names: list[str] = []
        self._text = _HEAD.encode()
        directory = os.stat(bundle)
        self._path = f"{cache_directory()}/{FOLDER}/{directory.st_dev}-{directory.st_ino}{kind}"
        self._kept = _read_own(self._path)
        self.add(names)

    def add(self, names: Iterable[str]) -> None:
        """Look at more files of the bundle. Raises OSError where one is missing."""
        lines = []
        for each in names:
            self._names.append(each)
            status = os.lstat(f"{self._bundle}/{each}")
            self._newest_ns = max(self._newest_ns, status.st_mtime_ns, status.st_ctime_ns)
            where = f"{status.st_dev} {status.st_ino} {status.st_size}"
            lines.append(f"{where} {status.st_mtime_ns} {status.st_ctime_ns} {each}\n")
        self._text += "".join(lines).encode("utf-8", "surrogateescape")

    def begins(self) -> bool:
        """Whether a check of the files so far, and perhaps of more, ended well before."""
        return self._kept.startswith(self._text)

    def holds(self) -> bool:
        """Whether a check of exactly these files ended well before."""
        return self._kept == self._text

    def keep(self) -> None:
        """Call when the check ended well. A cache that can't be written costs time, nothing else."""
        if self._newest_ns > self._made_ns - SETTLED_NS:
            return
        with suppress(OSError):
            for name in self._names:
                sync_path(Path(f"{self._bundle}/{name}"))
            folder = Path(self._path).parent
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with whole_file(Path(self._path), private=True) as file:
                file.write(self._text)


def _read_own(path: str) -> bytes:
    """What stands in the record at `path`; nothing where it is not this user's own."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return b""
    try:
        status = os.fstat(descriptor)
        ours = stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o022
        return os.read(descriptor, status.st_size) if ours and status.st_size <= LARGEST else b""
    except OSError:
        return b""
    finally:
        os.close(descriptor)
