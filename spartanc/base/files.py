"""Files and folders that appear under their names whole, or not at all, through a loss of power too; their digests."""

from __future__ import annotations

import errno
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

    A loss of power leaves the old file or the new one, never half of it. The folder is made. private: readable by this
    user alone; otherwise by all whom the umask lets. Raises OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(descriptor)
    temporary = Path(name)
    try:
        yield temporary
        if not private:
            temporary.chmod(0o666 & ~_umask())
        put_in_place(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def whole_file(path: Path, *, private: bool = False) -> Iterator[IO[bytes]]:
    """The same as a file that is open for writing."""
    with whole_path(path, private=private) as temporary, temporary.open("wb") as file:
        yield file


def require_writable(path: Path) -> None:
    """Raise OSError where no file can be written at `path` now: before work whose result is to go there."""
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(descriptor)
    os.unlink(name)


def write_whole(path: Path, text: str) -> None:
    """`text` in UTF-8 at `path`, whole or not at all. Raises OSError."""
    with whole_file(path) as file:
        file.write(text.encode())


def write_new(path: Path, data: bytes, mode: int) -> None:
    """A file at `path`, whole or not at all, through a loss of power too. Never replaces one: raises FileExistsError.

    Raises OSError.
    """
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(descriptor, mode & ~_umask())
            os.fsync(descriptor)
        try:
            os.link(name, path)
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS):
                raise
            # A file system without links, as of many SD cards: a name that is taken is still refused.
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode))
            os.replace(name, path)
    finally:
        Path(name).unlink(missing_ok=True)
    sync_path(path.parent)


@contextmanager
def whole_folder(out: Path) -> Iterator[Path]:
    """A folder to fill, which takes the place of `out` when the block ends well and is gone if it does not.

    A loss of power leaves the old folder, none, or the new one, never half of it.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}."))
    try:
        temporary.chmod(0o777 & ~_umask())
        yield temporary
        if out.exists():
            shutil.rmtree(out)
        put_in_place(temporary, out)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def put_in_place(made: Path, path: Path) -> None:
    """Rename a file or folder, made beside `path`, to `path`, so that a loss of power can't leave the name without the
    content: all of it is on the disk before, and the name after. Raises OSError.
    """
    sync_tree(made)
    os.replace(made, path)
    sync_path(path.parent)


def sync_tree(path: Path) -> None:
    """`sync_path` of a file, or of a folder and all in it. Links are not followed."""
    if path.is_dir() and not path.is_symlink():
        for folder, _, names in os.walk(path):
            for name in names:
                sync_path(Path(folder, name))
            sync_path(Path(folder))
    else:
        sync_path(path)


def sync_path(path: Path) -> None:
    """Wait until a plain file, or the names in a folder, are on the disk. Raises OSError; of a file system that can't
    tell, nothing.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        if error.errno == errno.ELOOP:  # a link is a name, which its folder holds
            return
        raise
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EROFS, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


def file_digest(path: Path) -> str:
    """SHA-256 of a file. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask
