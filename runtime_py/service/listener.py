"""The socket that clients connect to, and its file."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from spartanc.errors import UsageError

_LONGEST_PATH = 107  # bytes; a sockaddr_un holds no more
_WAITING = 64  # connections that nobody has accepted yet


def require_free(path: Path) -> None:
    """UsageError if a server answers at `path`, if something that is no socket stands there, or if it is too long.

    A server looks before it loads anything; `Listener` looks again.
    """
    if not 1 <= len(os.fsencode(path)) <= _LONGEST_PATH:
        raise _refusal(path, f"a socket's path has 1 to {_LONGEST_PATH} bytes")
    _is_stale(path)


class Listener:
    """Listens at `path`, and takes the place of a dead server's socket file. UsageError as from `require_free`."""

    def __init__(self, path: Path) -> None:
        require_free(path)
        self._path = path
        # Two servers that start at once would both find a stale file, and one would remove the other's. The folder is
        # what they take turns with: it leaves no file of its own.
        with _locked(path):
            if _is_stale(path):
                with _errors(path, "a dead server's file can't be removed: "), suppress(FileNotFoundError):
                    path.unlink()
            self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                with _errors(path):
                    self.socket.setblocking(False)
                    self.socket.bind(str(path))
                    self.socket.listen(_WAITING)
                    self._file = _identity(path)
            except BaseException:
                self.socket.close()
                raise

    def close(self) -> None:
        """Listen no more, and remove the file if it is still this listener's."""
        if self.socket.fileno() < 0:
            return
        with suppress(OSError):
            if _identity(self._path) == self._file:
                self._path.unlink()
        self.socket.close()


def _is_stale(path: Path) -> bool:
    """Whether a dead server's socket file stands at `path`; UsageError for whatever else does."""
    with _errors(path):
        try:
            status = os.lstat(path)
        except FileNotFoundError:
            return False
    if not stat.S_ISSOCK(status.st_mode):
        raise _refusal(path, "something that is no socket stands there")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        asking.setblocking(False)
        code = asking.connect_ex(str(path))
    if code in (0, errno.EAGAIN):
        raise _refusal(path, "another server answers there")
    if code not in (errno.ECONNREFUSED, errno.ENOENT):
        raise _refusal(path, f"whether another server answers there can't be told: {os.strerror(code)}")
    return True


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with _errors(path, "its folder: "):
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with _errors(path, "its folder: "):
            fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


@contextmanager
def _errors(path: Path, what: str = "") -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _refusal(path, f"{what}{error.strerror or error}") from error


def _refusal(path: Path, why: str) -> UsageError:
    return UsageError(f"no server can listen at `{path}`: {why}")


def _identity(path: Path) -> tuple[int, int]:
    status = os.lstat(path)
    return status.st_dev, status.st_ino
