"""A bundle on disk: what stands in it, and the check that nothing in it was altered.

    model.pte | model.ts      the program
    tokenizer.json            where the model has a tokenizer
    manifest.json             what the bundle is, with the SHA-256 and size of every other file
    manifest.sha256           the digest of manifest.json, in the form that `sha256sum -c` reads
    runtime/                  device targets: native library, `spartan`, `run.py`

Digests guard against accidents: whoever can change a file can change its digest too.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from spartanc.compiler.errors import UsageError

FORMAT = "spartanc-bundle"
FORMAT_VERSION = 1
MANIFEST = "manifest.json"
MANIFEST_DIGEST = "manifest.sha256"
TOKENIZER = "tokenizer.json"
MANIFEST_LIMIT = 4 << 20  # bytes; a real one holds a few kilobytes
_CHUNK = 1 << 20
_HEX_DIGEST = re.compile(r"[0-9a-f]{64}")
_REQUIRED = {
    "target": str,
    "program": str,
    "labels": list,
    "problem": str,
    "max_length": int,
    "quantization": str,
    "lowering": str,
    "files": dict,
    "probe": dict,
}


@dataclass(frozen=True)
class Bundle:
    """A bundle whose manifest and files agree."""

    path: Path
    manifest: dict[str, Any]

    @property
    def program(self) -> Path:
        return self.path / self.manifest["program"]

    @property
    def tokenizer(self) -> str | None:
        """The text of tokenizer.json, or None for a model that came without one."""
        file = self.path / TOKENIZER
        return file.read_text(encoding="utf-8") if TOKENIZER in self.manifest["files"] else None

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(self.manifest["labels"])

    @property
    def is_regression(self) -> bool:
        return self.manifest["problem"] == "regression"

    @property
    def is_fleet(self) -> bool:
        """Whether the program takes the tensors of a task, of which the bundle holds several."""
        return "fleet" in self.manifest

    def for_task(self, problem: str, labels: Sequence[str]) -> Bundle:
        """The bundle as it answers with one of its tasks."""
        return Bundle(self.path, self.manifest | {"problem": problem, "labels": list(labels)})

    @property
    def max_length(self) -> int:
        return self.manifest["max_length"]

    @property
    def target(self) -> str:
        return self.manifest["target"]

    @property
    def quantization(self) -> str:
        return self.manifest["quantization"]


def file_digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def open_bundle(path: str | Path) -> Bundle:
    """Check the bundle at `path` whole, manifest first, and return it.

    Raises UsageError (exit 2) for anything missing, altered, out of place, or of another format.
    """
    path = Path(path)
    manifest = _read_manifest(path)
    _check_fields(path, manifest)
    _check_files(path, manifest["files"])
    return Bundle(path, manifest)


def _altered(path: Path, what: str) -> UsageError:
    return UsageError(
        f"bundle `{path}`: {what}",
        hint="copy the bundle again, or compile it again; nothing in it was loaded",
    )


def _read_manifest(path: Path) -> dict[str, Any]:
    if not path.is_dir():
        raise UsageError(f"`{path}` is not a bundle directory", hint="`spartanc compile` writes one")
    for name in (MANIFEST, MANIFEST_DIGEST):
        if not _is_plain_file(path / name):
            raise _altered(path, f"`{name}` is missing or not a plain file")
    try:
        if (path / MANIFEST).stat().st_size > MANIFEST_LIMIT:
            raise _altered(path, f"`{MANIFEST}` is larger than {MANIFEST_LIMIT} bytes")
        data = (path / MANIFEST).read_bytes()
        expected = (path / MANIFEST_DIGEST).read_bytes()[:200].decode("ascii", "replace")
    except OSError as error:
        raise UsageError(f"bundle `{path}` can't be read: {error.strerror}") from error
    got = hashlib.sha256(data).hexdigest()
    if expected != manifest_digest_line(got):
        raise _altered(path, f"`{MANIFEST}` has digest `{got}`, which is not what `{MANIFEST_DIGEST}` says")
    try:
        manifest = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _altered(path, f"`{MANIFEST}` is not JSON: {error}") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise _altered(path, f"`{MANIFEST}` does not say format `{FORMAT}`")
    if manifest.get("format_version") != FORMAT_VERSION:
        raise UsageError(
            f"bundle `{path}` has format version `{manifest.get('format_version')}`, this spartanc reads"
            f" `{FORMAT_VERSION}`",
            hint="compile the model again with this version of spartanc",
        )
    return manifest


def manifest_digest_line(digest: str) -> str:
    """The whole content of manifest.sha256."""
    return f"{digest}  {MANIFEST}\n"


def _check_fields(path: Path, manifest: dict[str, Any]) -> None:
    for field, kind in _REQUIRED.items():
        value = manifest.get(field)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise _altered(path, f"`{MANIFEST}` has no valid `{field}`")
    if not all(isinstance(label, str) for label in manifest["labels"]):
        raise _altered(path, f"`{MANIFEST}` has a label that is not text")
    if manifest["max_length"] < 1:
        raise _altered(path, f"`{MANIFEST}` has `max_length` {manifest['max_length']}")
    if manifest["program"] not in manifest["files"]:
        raise _altered(path, f"`{MANIFEST}` does not list its program `{manifest['program']}`")


def _check_files(path: Path, files: dict[str, Any]) -> None:
    for name, entry in files.items():
        _check_name(path, name)
        if (
            not isinstance(entry, dict)
            or type(entry.get("bytes")) is not int
            or not isinstance(entry.get("sha256"), str)
            or not _HEX_DIGEST.fullmatch(entry["sha256"])
        ):
            raise _altered(path, f"`{MANIFEST}` has no valid size and digest of `{name}`")
    present = {str(file.relative_to(path).as_posix()) for file in _walk(path)}
    extra = present - set(files) - {MANIFEST, MANIFEST_DIGEST}
    if extra:
        raise _altered(path, f"`{min(extra)}` does not stand in `{MANIFEST}`")
    for name, entry in files.items():
        file = path / name
        if not _is_plain_file(file):
            raise _altered(path, f"`{name}` is missing or not a plain file")
        size = file.stat().st_size
        if size != entry["bytes"]:
            raise _altered(path, f"`{name}` has {size} bytes, its manifest says {entry['bytes']}")
        try:
            digest = file_digest(file)
        except OSError as error:
            raise UsageError(f"bundle `{path}`: `{name}` can't be read: {error.strerror}") from error
        if digest != entry["sha256"]:
            raise _altered(path, f"`{name}` has digest `{digest}`, its manifest says `{entry['sha256']}`")


def _check_name(path: Path, name: str) -> None:
    parts = PurePosixPath(name)
    plain = bool(parts.parts) and "\\" not in name and "\0" not in name and not parts.is_absolute()
    if not plain or ".." in parts.parts or str(parts) != name or name in (MANIFEST, MANIFEST_DIGEST):
        raise _altered(path, f"`{MANIFEST}` lists `{name}`, which is no file of a bundle")


def _walk(path: Path) -> list[Path]:
    """Every entry below `path` that is not a directory; directory links count as entries, not as ways on."""
    found: list[Path] = []
    for folder, directories, names in os.walk(path):
        here = Path(folder)
        found += [here / name for name in names]
        found += [here / name for name in directories if (here / name).is_symlink()]
    return found


def _is_plain_file(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except (OSError, ValueError):
        return False
