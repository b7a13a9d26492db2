"""Writing a bundle: whole or not at all.

Files are gathered in a directory beside the wanted one, synced, and renamed into place as the last act. Whatever
ends the compile before that (an error, Ctrl-C, a full disk) takes the gathered files with it.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import json
import os
import shutil
import signal
import stat
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from spartanc.base.files import file_digest, sync_path, sync_tree
from spartanc.base.locks import claimed
from spartanc.errors import CompileError, SpartancError, UsageError
from spartanc.runtime_py.bundle import (
    FORMAT,
    MANIFEST,
    MANIFEST_DIGEST,
    format_version,
    manifest_digest_line,
)
from spartanc.runtime_py.signature import SIGNATURE, read_private_key
from spartanc.runtime_py.signature import sign as signature_of

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


def check_output(out: Path) -> None:
    """Raise UsageError unless `out` can become a bundle: absent, or an empty directory, in a writable place."""
    try:
        if out.is_symlink() or (out.exists() and not out.is_dir()):
            raise UsageError(f"output `{out}` exists and is not a directory")
        if out.is_dir() and any(out.iterdir()):
            raise UsageError(f"output directory `{out}` is not empty", hint="give another `--out`, or empty it first")
        if out.exists() and out.samefile(os.curdir):  # whoever works there would be left in one that is gone
            raise UsageError(
                f"output `{out}` is the current directory, which can't be replaced",
                hint=f"name one in it, as in `--out {out / 'bundle'}`",
            )
    except PermissionError as error:  # a folder on the way there that may not even be looked into
        raise UsageError(f"output `{out}` can't be written: no permission in `{error.filename}`") from error
    _check_place(out.resolve(), f"output `{out}` can't be written")


@contextmanager
def whole_or_nothing(out: Path) -> Iterator[Path]:
    """A new directory to fill; it becomes `out` when the block ends well, and is gone when it does not."""
    check_output(out)
    place = out.resolve()
    made = _make_parents(place.parent)
    staging: Path | None = None
    try:
        with _terminate_as_interrupt():
            staging = Path(tempfile.mkdtemp(prefix=f".{place.name}.", dir=place.parent))
            yield staging
            staging.chmod(0o755)
            sync_tree(staging)
            os.rename(staging, place)  # onto nothing, or onto an empty directory
        staging = None
        made = []
        sync_path(place.parent)
    except OSError as error:
        raise _disk_error(out, error) from error
    finally:
        if staging is not None:
            shutil.rmtree(staging, ignore_errors=True)
        for folder in made:
            _remove_if_empty(folder)


@contextmanager
def replaced_whole(bundle: Path) -> Iterator[Path]:
    """A new directory with the files of `bundle`, manifest excepted; it takes the bundle's place when the block ends.

    Files are linked, not copied: remove or replace them, never write into them. Old and new change places in one step
    of the file system, so whoever opens the bundle meanwhile finds one of the two, whole. A link to a bundle stays:
    what it leads to is replaced. Nobody else changes the bundle during the block; what was read of it before may be
    stale.

    Raises UsageError while another program changes the bundle, or where it can't be replaced.
    """
    check_replaceable(bundle)
    place = bundle.resolve()
    with _locked(place):
        staging: Path | None = None
        try:
            with _terminate_as_interrupt():
                staging = Path(tempfile.mkdtemp(prefix=f".{place.name}.", dir=place.parent))
                shutil.copytree(place, staging, copy_function=_link_or_copy, dirs_exist_ok=True)
                for name in (MANIFEST, MANIFEST_DIGEST, SIGNATURE):
                    (staging / name).unlink(missing_ok=True)
                yield staging
                staging.chmod(stat.S_IMODE(place.stat().st_mode))
                sync_tree(staging)
                _exchange(staging, place)  # what is removed below is the old one
                sync_path(place.parent)
        except OSError as error:
            raise _disk_error(bundle, error) from error
        finally:
            if staging is not None:
                shutil.rmtree(staging, ignore_errors=True)


def check_replaceable(bundle: Path) -> None:
    """Raise UsageError where another directory can't take the place of `bundle`."""
    _check_place(bundle.resolve(), f"bundle `{bundle}` can't be changed")


def _check_place(path: Path, refusal: str) -> None:
    """Raise UsageError, which `refusal` begins, unless a directory can be made beside `path` and renamed onto it."""
    if os.path.ismount(path):
        raise UsageError(
            f"{refusal}: `{path}` is a mount point, which no directory can take the place of",
            hint=f"use a directory in it, as `{path / 'bundle'}`",
        )
    try:
        parent = _existing_ancestor(path.parent)
    except PermissionError as error:  # a folder on the way there that may not even be looked into
        raise UsageError(f"{refusal}: no permission in `{error.filename}`") from error
    if not os.access(parent, os.W_OK | os.X_OK):
        raise UsageError(f"{refusal}: no permission in `{parent}`")


@contextmanager
def _locked(bundle: Path) -> Iterator[None]:
    """One change of a bundle at a time; UsageError while another is under way."""
    refusal = UsageError(f"bundle `{bundle}` is being changed by another program", hint="try again")
    with claimed(bundle, refusal) as descriptor:
        # What was changed before the lock was taken stands in another directory now.
        if os.fstat(descriptor).st_ino != bundle.stat().st_ino:
            raise UsageError(f"bundle `{bundle}` was changed by another program meanwhile", hint="try again")
        yield


def _link_or_copy(source: str, destination: str) -> None:
    try:
        os.link(source, destination, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, destination, follow_symlinks=False)


def _exchange(one: Path, other: Path) -> None:
    """Two directories take each other's name, in one step where the system has one."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is not None:
        if rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0:
            return
        number = ctypes.get_errno()
        if number not in (errno.EINVAL, errno.ENOSYS):
            raise OSError(number, os.strerror(number))
    aside = one.with_name(f"{one.name}.old")
    os.rename(other, aside)
    try:
        os.rename(one, other)
    except OSError:
        os.rename(aside, other)
        raise
    os.rename(aside, one)


def write_manifest(directory: Path, manifest: dict[str, Any], sign: Path | None = None) -> dict[str, int]:
    """Add format and the digest of every file in `directory`; write manifest, its digest and, with the key `sign`, its
    signature.

    Returns the size in bytes of every file of the bundle, the manifest's own among them.
    """
    files = {
        file.relative_to(directory).as_posix(): {"sha256": file_digest(file), "bytes": file.stat().st_size}
        for file in sorted(directory.rglob("*"))
        if file.is_file()
    }
    whole = {"format": FORMAT, "format_version": format_version(manifest), **manifest, "files": files}
    text = json.dumps(whole, indent=1, sort_keys=False, ensure_ascii=False, allow_nan=False) + "\n"
    data = text.encode()
    (directory / MANIFEST).write_bytes(data)
    (directory / MANIFEST_DIGEST).write_text(manifest_digest_line(hashlib.sha256(data).hexdigest()))
    names = [*files, MANIFEST, MANIFEST_DIGEST]
    if sign is not None:
        (directory / SIGNATURE).write_bytes(signature_of(data, read_private_key(sign)))
        names.append(SIGNATURE)
    return {name: (directory / name).stat().st_size for name in names}


@contextmanager
def _terminate_as_interrupt() -> Iterator[None]:
    """SIGTERM ends the block as Ctrl-C does, so that it cleans up."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(_signal, _frame):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _disk_error(out: Path, error: OSError) -> SpartancError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return CompileError(
            f"no space left on the disk of `{out}`; nothing was written",
            hint="free some space, or give another `--out`",
        )
    if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
        return UsageError(f"output directory `{out}` was filled by another program meanwhile; it was left alone")
    if error.errno == errno.EBUSY:  # a folder of the same file system that is mounted there does not look like it
        return UsageError(f"`{out}` is a mount point, which no directory can take the place of")
    return CompileError(f"`{out}` could not be written: {error.strerror or error}; nothing was left behind")


def _existing_ancestor(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path if path.is_dir() else path.parent


def _make_parents(folder: Path) -> list[Path]:
    """Create `folder` with its parents; returns those that were made, innermost first."""
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for absent in reversed(missing):
        try:
            absent.mkdir(exist_ok=True)
        except OSError as error:
            raise UsageError(f"`{absent}` can't be created: {error.strerror}") from error
    return missing


def _remove_if_empty(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:
        return
