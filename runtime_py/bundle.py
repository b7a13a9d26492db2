"""A bundle on disk: what stands in it, and the check that nothing in it was altered.

    model.pte | model.ts      the program
    tokenizer.json            where the model has a tokenizer
    manifest.json             what the bundle is, with the SHA-256 and size of every other file
    manifest.sha256           the digest of manifest.json, in the form that `sha256sum -c` reads
    manifest.sig              signed bundles: see `spartanc.runtime_py.signature`
    runtime/                  device targets: native library, `spartan`, `run.py`

Digests guard against accidents: whoever can change a file can change its digest too. Signatures guard against people,
where one is asked for: a signature that nobody asked for is not looked at.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spartanc.base.schemes.catalogue import QUANTIZATIONS
from spartanc.errors import UsageError
from spartanc.runtime_py.probe import Probe, read_probe
from spartanc.runtime_py.signature import SIGNATURE, SIGNATURE_LIMIT, is_signed, read_public_key
from spartanc.runtime_py.strict_json import parse_object
from spartanc.runtime_py.task_types.catalogue import TASK_TYPES, find_task_type
from spartanc.runtime_py.task_types.task_type import TaskType
from spartanc.runtime_py.verified import Record

FORMAT = "spartanc-bundle"
FORMAT_VERSION = 1
MANIFEST = "manifest.json"
MANIFEST_DIGEST = "manifest.sha256"
TOKENIZER = "tokenizer.json"
MANIFEST_LIMIT = 4 << 20  # bytes; a real one holds a few kilobytes
LONGEST_INPUT = 1 << 16  # tokens
LARGEST_VOCABULARY = 1 << 30  # tokens
LOWERINGS = ("fused", "portable")
FLEET = "fleet"  # in place of a task type: each task of a fleet has its own
_CHUNK = 1 << 20
_RESERVED = (MANIFEST, MANIFEST_DIGEST, SIGNATURE)
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
    def task_type(self) -> TaskType:
        """Of a bundle with one task, or of a fleet's `for_task`."""
        return find_task_type(self.manifest["problem"])

    @property
    def is_fleet(self) -> bool:
        """Whether the program takes the tensors of a task, of which the bundle holds several."""
        return "fleet" in self.manifest

    @property
    def probe(self) -> Probe:
        """Of a bundle with one task; the tasks of a fleet bring their own."""
        return read_probe(self.manifest["probe"], self.task_type.outputs(self.labels))

    @property
    def is_signed(self) -> bool:
        """Whether there is a signature; it says nothing of whose, or of whether it is one of this manifest."""
        return (self.path / SIGNATURE).exists()

    def for_task(self, problem: str, labels: Sequence[str], pairs: bool | None = None) -> Bundle:
        """The bundle as it answers with one of its tasks."""
        return Bundle(self.path, self.manifest | {"problem": problem, "labels": list(labels), "pairs": pairs})

    @property
    def pairs(self) -> bool | None:
        """Whether a row is two texts; None where that is not known, as of bundles made before it was kept."""
        return self.manifest.get("pairs")

    @property
    def vocabulary_size(self) -> int | None:
        """How many token ids the program has a row for; None where the manifest does not say."""
        return self.manifest.get("vocabulary_size")

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


def open_bundle(path: str | Path, *, require_signature: Path | None = None, recheck: bool = False) -> Bundle:
    """Check the bundle at `path` whole, manifest first, and return it.

    require_signature: a public key; the manifest must be signed with its other half.
    recheck: hash every file again, though this user's cache says that these very files were found good before.
    Raises UsageError (exit 2) for anything missing, altered, out of place, of another format, or not signed.
    """
    path = Path(path)
    record = _record(path)
    data = _read_small(path, MANIFEST, MANIFEST_LIMIT)
    if recheck or not record.begins():
        _check_manifest(path, data)
    if require_signature is not None:
        _check_signature(path, data, require_signature)
    manifest = _parse_manifest(path, data)
    _check_fields(path, manifest)
    _check_names(path, manifest["files"])
    try:
        record.add(manifest["files"])
        if recheck or not record.holds():
            _check_files(path, manifest["files"])
            record.keep()
    except OSError as error:
        raise UsageError(f"bundle `{path}` can't be read: {error.strerror}: `{error.filename}`") from error
    return Bundle(path, manifest)


def _altered(path: Path, what: str) -> UsageError:
    return UsageError(
        f"bundle `{path}`: {what}",
        hint="copy the bundle again, or compile it again; nothing in it was loaded",
    )


def _record(path: Path) -> Record:
    """What this user's cache says of the bundle, from its manifest on."""
    try:
        return Record(path, (MANIFEST, MANIFEST_DIGEST))
    except OSError as error:
        if not path.is_dir():
            raise UsageError(f"`{path}` is not a bundle directory", hint="`spartanc compile` writes one") from error
        missing = Path(error.filename).name
        raise _altered(path, f"`{missing}` is missing or not a plain file") from error


def _check_manifest(path: Path, data: bytes) -> None:
    """The manifest `data` is what its digest says."""
    expected = _read_small(path, MANIFEST_DIGEST, 200).decode("ascii", "replace")
    got = hashlib.sha256(data).hexdigest()
    if expected != manifest_digest_line(got):
        raise _altered(path, f"`{MANIFEST}` has digest `{got}`, which is not what `{MANIFEST_DIGEST}` says")


def _read_small(path: Path, name: str, limit: int) -> bytes:
    try:
        # NONBLOCK: a pipe in the place of a file is refused, not waited for.
        descriptor = os.open(f"{path}/{name}", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ELOOP, errno.ENXIO):
            raise _altered(path, f"`{name}` is missing or not a plain file") from error
        raise UsageError(f"bundle `{path}`: `{name}` can't be read: {error.strerror}") from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise _altered(path, f"`{name}` is missing or not a plain file")
        if status.st_size > limit:
            raise _altered(path, f"`{name}` is larger than {limit} bytes")
        return os.read(descriptor, status.st_size)
    except OSError as error:
        raise UsageError(f"bundle `{path}`: `{name}` can't be read: {error.strerror}") from error
    finally:
        os.close(descriptor)


def _check_signature(path: Path, manifest: bytes, require_signature: Path) -> None:
    key = read_public_key(require_signature)
    if not (path / SIGNATURE).exists():
        raise UsageError(
            f"bundle `{path}` is not signed, and `{require_signature}` asks for a signature",
            hint="`spartanc compile --sign KEY` signs a bundle; nothing in it was loaded",
        )
    if not is_signed(manifest, _read_small(path, SIGNATURE, SIGNATURE_LIMIT), key):
        raise UsageError(
            f"bundle `{path}` is not signed with the key that `{require_signature}` asks for",
            hint="it was altered after it was signed, or somebody else signed it; nothing in it was loaded",
        )


def _parse_manifest(path: Path, data: bytes) -> dict[str, Any]:
    try:
        manifest = parse_object(data)
    except ValueError as error:
        raise _altered(path, f"`{MANIFEST}` is not JSON: {error}") from error
    if manifest.get("format") != FORMAT:
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
    if not isinstance(manifest.get("pairs"), bool | None):
        raise _altered(path, f"`{MANIFEST}` has no valid `pairs`")
    vocabulary = manifest.get("vocabulary_size", 1)
    if type(vocabulary) is not int or not 1 <= vocabulary <= LARGEST_VOCABULARY:
        raise _altered(path, f"`{MANIFEST}` has no valid `vocabulary_size`")
    for field in ("labels", "operators", "backends"):
        if not all(isinstance(each, str) for each in _texts(path, manifest, field)):
            raise _altered(path, f"`{MANIFEST}` has an entry of `{field}` that is not text")
    for field, known in (("quantization", QUANTIZATIONS), ("lowering", LOWERINGS), ("problem", (*TASK_TYPES, FLEET))):
        if manifest[field] not in known:
            raise _altered(path, f"`{MANIFEST}` has the {field} `{manifest[field]}`, which is none")
    if not 1 <= manifest["max_length"] <= LONGEST_INPUT:
        raise _altered(path, f"`{MANIFEST}` has `max_length` {manifest['max_length']}")
    if manifest["program"] not in manifest["files"]:
        raise _altered(path, f"`{MANIFEST}` does not list its program `{manifest['program']}`")
    if "fleet" in manifest:
        if manifest["problem"] != FLEET or not isinstance(manifest["fleet"], dict):
            raise _altered(path, f"`{MANIFEST}` has a `fleet` that is none")
        return
    try:
        probe = read_probe(manifest["probe"], find_task_type(manifest["problem"]).outputs(manifest["labels"]))
    except UsageError as error:
        raise _altered(path, f"`{MANIFEST}` {error.message}") from error
    if probe.input_ids.shape[1] > manifest["max_length"]:
        raise _altered(path, f"`{MANIFEST}` has a probe that is longer than its `max_length`")


def _texts(path: Path, manifest: dict[str, Any], field: str) -> list[Any]:
    found = manifest.get(field, [])
    if not isinstance(found, list):
        raise _altered(path, f"`{MANIFEST}` has no valid `{field}`")
    return found


def _check_names(path: Path, files: dict[str, Any]) -> None:
    """Every file of the manifest is there, under a name that stays inside, and no other is."""
    for name, entry in files.items():
        _check_name(path, name)
        if (
            not isinstance(entry, dict)
            or type(entry.get("bytes")) is not int
            or not isinstance(entry.get("sha256"), str)
            or not _HEX_DIGEST.fullmatch(entry["sha256"])
        ):
            raise _altered(path, f"`{MANIFEST}` has no valid size and digest of `{name}`")
    plain: dict[str, bool] = {}
    try:
        _list_files(str(path), "", plain)
    except OSError as error:
        raise UsageError(f"bundle `{path}` can't be read: {error.strerror}: `{error.filename}`") from error
    extra = plain.keys() - files.keys() - {MANIFEST, MANIFEST_DIGEST, SIGNATURE}
    if extra:
        raise _altered(path, f"`{min(extra)}` does not stand in `{MANIFEST}`")
    for name in files:
        if not plain.get(name):
            raise _altered(path, f"`{name}` is missing or not a plain file")


def _check_files(path: Path, files: dict[str, Any]) -> None:
    for name, entry in files.items():
        size = (path / name).stat().st_size
        if size != entry["bytes"]:
            raise _altered(path, f"`{name}` has {size} bytes, its manifest says {entry['bytes']}")
        digest = file_digest(path / name)
        if digest != entry["sha256"]:
            raise _altered(path, f"`{name}` has digest `{digest}`, its manifest says `{entry['sha256']}`")


def _check_name(path: Path, name: str) -> None:
    """A relative path of plain names, in the one form of it."""
    inside = not any(part in ("", ".", "..") for part in name.split("/"))
    if not inside or "\\" in name or "\0" in name or name in _RESERVED:
        raise _altered(path, f"`{MANIFEST}` lists `{name}`, which is no file of a bundle")


def _list_files(folder: str, prefix: str, plain: dict[str, bool]) -> None:
    """Every entry below `folder` that is no directory, and whether it is a plain file. Links are entries, no way on."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                _list_files(entry.path, f"{prefix}{entry.name}/", plain)
            else:
                plain[prefix + entry.name] = entry.is_file(follow_symlinks=False)
