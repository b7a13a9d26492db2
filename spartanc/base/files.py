"""Files and folders that appear under their names whole, or not at all; and their digests."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def whole_path(path: Path, *, private: bool = False) -> Iterator[Path]:
    """A path to write a file to, which takes the place of `path` when the block ends well and is gone if it does not.

    Its folder is made. private: readable by this user alone; otherwise by all whom the umask lets. Raises OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(descriptor)
    temporary = Path(name)
    try:
        yield temporary
        if not private:
            temporary.chmod(0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def whole_file(path: Path, *, private: bool = False) -> Iterator[IO[bytes]]:
    """The same as a file that is open for writing."""
    with whole_path(path, private=private) as temporary, temporary.open("wb") as file:
        yield file


def write_whole(path: Path, text: str) -> None:
    """`text` in UTF-8 at `path`, whole or not at all. Raises OSError."""
    with whole_file(path) as file:
        file.write(text.encode())


@contextmanager
def whole_folder(out: Path) -> Iterator[Path]:
    """A folder to fill, which takes the place of `out` when the block ends well and is gone if it does not."""
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}."))
    try:
        temporary.chmod(0o777 & ~_umask())
        yield temporary
        if out.exists():
            shutil.rmtree(out)
        os.replace(temporary, out)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def file_digest(path: Path) -> str:
    """SHA-256 of a file. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask
