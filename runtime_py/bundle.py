"""A bundle on disk: what is in it, and the check that nothing in it was altered.

docs/formats/bundle.md specifies the format, rule by rule; tests/golden/bundles has bundles that every reader takes, and
refuses. Digests guard against accidents: whoever can change a file can change its digest too. Signatures guard against
people, if one is required: without `require_signature` a signature is not looked at.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from spartanc.base.files import file_digest
from spartanc.base.schemes.catalogue import QUANTIZATIONS
from spartanc.base.schemes.int4 import INT4
from spartanc.base.schemes.int4_memories import INT4_MEMORIES
from spartanc.errors import UsageError
from spartanc.runtime_py.fleet_interface import HEX_DIGEST, read_interface
from spartanc.runtime_py.probe import Probe, check_probe_input, is_number, read_probe
from spartanc.runtime_py.session import SessionError
from spartanc.runtime_py.signature import SIGNATURE, SIGNATURE_LIMIT, is_signed, read_public_key
from spartanc.runtime_py.strict_json import is_count, is_text, parse_object
from spartanc.runtime_py.task_types.catalogue import TASK_TYPES, task_type_of
from spartanc.runtime_py.task_types.task_type import TaskType
from spartanc.runtime_py.verified import Record

FORMAT = "spartanc-bundle"
PLAIN, WITH_MIN_LENGTH = 1, 2  # of the format: readers of the first alone would run a program on less than it takes
MANIFEST = "manifest.json"
MANIFEST_DIGEST = "manifest.sha256"
TOKENIZER = "tokenizer.json"
TASKS = "tasks/"  # names of task files begin so
MANIFEST_LIMIT = 4 << 20  # bytes; a real one holds a few kilobytes
LONGEST_INPUT = 1 << 16  # tokens
LARGEST_VOCABULARY = 1 << 30  # tokens
LOWERINGS = ("fused", "portable")
FLEET = "fleet"  # in place of a task type: each task of a fleet has its own
PROGRAM_FORMATS = ("executorch", "torchscript")
_INPUTS = ("input_ids", "attention_mask")
LONGEST_NAME = 512  # bytes of UTF-8
DEEPEST_FOLDER = 16
TOKENIZER_LIMIT = 64 << 20  # bytes
_RESERVED = (MANIFEST, MANIFEST_DIGEST, SIGNATURE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
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
    """A bundle whose manifest and files agree.

    damaged: of a fleet that was opened task by task, tasks that can't be used, and what is wrong with their files.
    """

    path: Path
    manifest: dict[str, Any]
    damaged: Mapping[str, str] = field(default_factory=dict)

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

    @cached_property
    def task_type(self) -> TaskType:
        """Of a bundle with one task, or of a fleet's `for_task`."""
        return _task_type(self.manifest)

    def answer(self, logits_C: np.ndarray) -> dict[str, Any]:
        """What the bundle's task says of one row's logits, see `TaskType.answer`.

        Raises SessionError where there is nothing to say: one of them is no number, or they are not one for each label.
        """
        task_type = self.task_type
        if logits_C.shape != (task_type.outputs(self.labels),):
            raise SessionError(
                f"the program gave {logits_C.size} logits for a {task_type.name} of {len(self.labels)} labels"
            )
        if not np.isfinite(logits_C).all():
            raise SessionError("the program gave a logit that is no number")
        return task_type.answer(logits_C, self.labels)

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

    def for_task(self, task_type: TaskType, labels: Sequence[str], pairs: bool | None = None) -> Bundle:
        """The bundle as it answers with one of its tasks."""
        task = {"problem": task_type.name, "labels": list(labels), "pairs": pairs}
        manifest = {name: value for name, value in self.manifest.items() if name != "thresholds"} | task
        if task_type.thresholds:
            manifest["thresholds"] = list(task_type.thresholds)
        return replace(self, manifest=manifest)

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
    def min_length(self) -> int:
        """The shortest input that the program takes; whatever runs it pads shorter ones, see `session.pad`."""
        return self.manifest.get("min_length", 1)

    @property
    def target(self) -> str:
        return self.manifest["target"]

    @property
    def quantization(self) -> str:
        """The scheme's name. Where linears are not said to be of 4 bits, `int4` is what it was: of memories alone."""
        word, linears = self.manifest["quantization"], self.manifest.get("linears")
        of_memories = word == INT4.name and not (isinstance(linears, dict) and linears.get("bits") == INT4.linear_bits)
        return INT4_MEMORIES.name if of_memories else word


def open_bundle(
    path: str | Path, *, require_signature: Path | None = None, recheck: bool = False, task_by_task: bool = False
) -> Bundle:
    """Check the bundle at `path` whole, manifest first, and return it.

    require_signature: a public key; the manifest must be signed with its other half.
    recheck: hash every file again, though this user's cache says that these very files were found good before.
    task_by_task: for whoever uses a fleet's tasks by name alone: a task's file that is missing, or of another size or
    content, makes that task one of `damaged`, and is no error here.
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
    wrong = _check_names(path, manifest)
    try:
        record.add(name for name in manifest["files"] if name not in wrong)
        if recheck or wrong or not record.holds():
            wrong |= _wrong_files(path, {name: row for name, row in manifest["files"].items() if name not in wrong})
            if not wrong:
                record.keep()
    except OSError as error:
        raise UsageError(f"bundle `{path}` can't be read: {error.strerror}: `{error.filename}`") from error
    for name, what in wrong.items():
        if not task_by_task or not _is_only_a_task(manifest, name):
            raise _altered(path, what)
    tasks = manifest.get(FLEET, {}).get("tasks", {})
    return Bundle(path, manifest, {task: wrong[row["file"]] for task, row in tasks.items() if row["file"] in wrong})


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
        raise _altered(path, f"`{MANIFEST}` does not have the format `{FORMAT}`")
    version = manifest.get("format_version")
    if not _same(version, PLAIN) and not _same(version, WITH_MIN_LENGTH):
        raise UsageError(
            f"bundle `{path}` has format_version `{version}`, this spartanc reads `{PLAIN}` and `{WITH_MIN_LENGTH}`",
            hint="compile the model again with this version of spartanc",
        )
    if version != format_version(manifest):
        has = "a" if "min_length" in manifest else "no"
        raise _altered(path, f"`{MANIFEST}` has format_version `{version}`, and {has} `min_length`")
    return manifest


def format_version(manifest: Mapping[str, Any]) -> int:
    """The one that a manifest of these fields has."""
    return WITH_MIN_LENGTH if "min_length" in manifest else PLAIN


def manifest_digest_line(digest: str) -> str:
    """The whole content of manifest.sha256."""
    return f"{digest}  {MANIFEST}\n"


def _check_fields(path: Path, manifest: dict[str, Any]) -> None:
    try:
        _check_plain_fields(manifest)
        _check_task_type(path, manifest)
        _check_program(manifest)
    except UsageError as error:
        raise _altered(path, f"`{MANIFEST}` {error.message}") from error


def _check_plain_fields(manifest: dict[str, Any]) -> None:
    for name, kind in _REQUIRED.items():
        value = manifest.get(name)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise UsageError(f"has no valid `{name}`")
    if not is_text(manifest["target"]):
        raise UsageError("has no valid `target`")
    for name in ("labels", "operators", "backends"):
        found = manifest.get(name, [])
        if not isinstance(found, list) or not all(map(is_text, found)):
            raise UsageError(f"has an entry of `{name}` that is not text")
    words = {"quantization": QUANTIZATIONS, "lowering": LOWERINGS, "problem": (*TASK_TYPES, FLEET)}
    if "program_format" in manifest:
        words["program_format"] = PROGRAM_FORMATS
    for name, known in words.items():
        if manifest[name] not in known:
            raise UsageError(f"has the {name} `{manifest[name]}`, which is unknown")
    if not is_count(manifest["max_length"], 1, LONGEST_INPUT):
        raise UsageError(f"has the max_length {manifest['max_length']}, allowed are 1 to {LONGEST_INPUT}")
    if not is_count(manifest.get("min_length", 1), 1, manifest["max_length"]):
        raise UsageError(f"has the min_length {manifest['min_length']}, allowed are 1 to its max_length")
    if not is_count(manifest.get("vocabulary_size", 1), 1, LARGEST_VOCABULARY):
        raise UsageError("has no valid `vocabulary_size`")
    if not isinstance(manifest.get("pairs"), bool | None):
        raise UsageError("has no valid `pairs`")


def _check_task_type(path: Path, manifest: dict[str, Any]) -> None:
    """Labels and probe are those of the task type; a fleet's tasks bring their own."""
    problem, labels = manifest["problem"], manifest["labels"]
    if ("fleet" in manifest) != (problem == FLEET):
        raise UsageError("has a `fleet` without that problem, or that problem without a `fleet`")
    thresholds = manifest.get("thresholds", [])
    is_list = isinstance(thresholds, list) and all(map(is_number, thresholds))
    if not is_list or ("thresholds" in manifest and not thresholds):
        raise UsageError("has no valid `thresholds`")
    if problem == FLEET:
        for name, found in (("labels", labels), ("thresholds", thresholds)):
            if found:
                raise UsageError(f"has {len(found)} `{name}` for {problem}: those of a fleet are its tasks'")
        check_probe_input(manifest["probe"])
        read_interface(manifest, path)
    else:
        read_probe(manifest["probe"], _task_type(manifest).outputs(labels))
    if len(manifest["probe"]["input_ids"][0]) > manifest["max_length"]:
        raise UsageError("has a `probe` that is longer than its `max_length`")


def _task_type(manifest: dict[str, Any]) -> TaskType:
    return task_type_of(manifest["problem"], manifest["labels"], manifest.get("thresholds", ()))


def _check_program(manifest: dict[str, Any]) -> None:
    """The program is listed, and its inputs and outputs, if described, are those of every program."""
    if manifest["program"] not in manifest["files"]:
        raise UsageError(f"does not list its `program` in `files`: `{manifest['program']}`")
    if "inputs" in manifest:
        inputs = manifest["inputs"]
        if not isinstance(inputs, list) or len(inputs) != len(_INPUTS):
            raise UsageError(f"has `inputs` that are not {len(_INPUTS)}: a program takes ids and mask")
        for given, name in zip(inputs, _INPUTS, strict=True):
            if not _is_tensor(given, name, "int64") or not all(map(_is_size, given["shape"])):
                raise UsageError(f"has `inputs` that do not describe `{name}` int64 [1, L]")
    if "outputs" in manifest:
        problem, outputs = manifest["problem"], manifest["outputs"]
        classes = "classes" if problem == FLEET else _task_type(manifest).outputs(manifest["labels"])
        one = isinstance(outputs, list) and len(outputs) == 1 and _is_tensor(outputs[0], "logits", "float32")
        if not one or not is_count(outputs[0]["shape"][0], 1) or not _same(outputs[0]["shape"][1], classes):
            raise UsageError(f"has `outputs` that do not describe `logits` float32 [1, {classes}]")


def _is_tensor(value: Any, name: str, dtype: str) -> bool:
    """Whether `value` describes a tensor [_, _] of that name and type."""
    if not isinstance(value, dict) or value.get("name") != name or value.get("dtype") != dtype:
        return False
    return isinstance(value.get("shape"), list) and len(value["shape"]) == 2


def _is_size(value: Any) -> bool:
    return value == "L" or is_count(value, 1, LONGEST_INPUT)


def _same(a: Any, b: Any) -> bool:
    return type(a) is type(b) and a == b


def _check_names(path: Path, manifest: dict[str, Any]) -> dict[str, str]:
    """Every file of the manifest is there, under a name that stays inside, and no other is.

    Returns what is wrong with files of tasks that are missing; they are no error here.
    """
    files: dict[str, Any] = manifest["files"]
    for name, entry in files.items():
        _check_name(path, name)
        if (
            not isinstance(entry, dict)
            or not is_count(entry.get("bytes"))
            or not isinstance(entry.get("sha256"), str)
            or not HEX_DIGEST.fullmatch(entry["sha256"])
        ):
            raise _altered(path, f"`{MANIFEST}` has no valid size and digest of `{name}`")
        if name == TOKENIZER and entry["bytes"] > TOKENIZER_LIMIT:
            raise _altered(path, f"`{name}` is larger than {TOKENIZER_LIMIT} bytes")
    plain: dict[str, bool] = {}
    try:
        _list_files(str(path), "", plain)
    except OSError as error:
        raise UsageError(f"bundle `{path}` can't be read: {error.strerror}: `{error.filename}`") from error
    extra = plain.keys() - files.keys() - set(_RESERVED)
    if extra:
        raise _altered(path, f"`{min(extra)}` is not listed in `{MANIFEST}`")
    wrong = {}
    for name in files:
        if name not in plain and _is_only_a_task(manifest, name):
            wrong[name] = f"`{name}` is missing"
        elif not plain.get(name):
            raise _altered(path, f"`{name}` is missing or not a plain file")
    return wrong


def _wrong_files(path: Path, files: dict[str, Any]) -> dict[str, str]:
    """Files whose size or content is not the manifest's, and what is wrong with each."""
    wrong = {}
    for name, entry in files.items():
        size = (path / name).stat().st_size
        if size != entry["bytes"]:
            wrong[name] = f"`{name}` has {size} bytes, its manifest says {entry['bytes']}"
        elif (digest := file_digest(path / name)) != entry["sha256"]:
            wrong[name] = f"`{name}` has digest `{digest}`, its manifest says `{entry['sha256']}`"
    return wrong


def _is_only_a_task(manifest: dict[str, Any], name: str) -> bool:
    """Whether nothing but the answers of one task of a fleet depends on a file."""
    tasks = manifest.get(FLEET, {}).get("tasks", {})
    listed = any(row["file"] == name for row in tasks.values())
    return listed and name.startswith(TASKS) and name != manifest["program"]


def _check_name(path: Path, name: str) -> None:
    """A relative path of plain names, in the one form of it."""
    parts = name.split("/")
    inside = not any(part in ("", ".", "..") for part in parts) and len(parts) <= DEEPEST_FOLDER
    plain = "\\" not in name and not _CONTROL.search(name) and len(name.encode()) <= LONGEST_NAME
    if not inside or not plain or name in _RESERVED:
        raise _altered(path, f"`{MANIFEST}` lists `{name}`, which is no file of a bundle")


def _list_files(folder: str, prefix: str, plain: dict[str, bool], depth: int = 1) -> None:
    """Every entry below `folder` that is no directory, and whether it is a plain file. Links are entries too."""
    if depth > DEEPEST_FOLDER:
        raise OSError(errno.ELOOP, f"folders nested deeper than {DEEPEST_FOLDER}", folder)
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                _list_files(entry.path, f"{prefix}{entry.name}/", plain, depth + 1)
            else:
                plain[prefix + entry.name] = entry.is_file(follow_symlinks=False)
