"""A task's file: what one task adds to a shared backbone. Mapped, never copied, and never trusted.

docs/formats/task.md specifies the format. `open_task` and `check_task` hold a file to it, all but its probe, for which
the program has to run: see `check_probe`. tests/golden/bundles has files that every reader takes, and refuses.
"""

from __future__ import annotations

import hashlib
import json
import math
import mmap
import os
import stat
import struct
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spartanc.base.schemes.catalogue import QUANTIZATIONS
from spartanc.errors import UsageError
from spartanc.runtime_py.bundle import Bundle
from spartanc.runtime_py.fleet_interface import (
    DTYPES,
    HEX_DIGEST,
    LAYOUT,
    MOST_DIMENSIONS,
    MOST_SIZE,
    FleetInterface,
    read_interface,
    sizes_of,
)
from spartanc.runtime_py.fleet_interface import TASK_NAME as NAME
from spartanc.runtime_py.probe import Probe, is_number, read_probe
from spartanc.runtime_py.sparse_cells import with_zeros, without_zeros
from spartanc.runtime_py.strict_json import is_count, is_text, parse_object
from spartanc.runtime_py.task_types.catalogue import TASK_TYPES, task_type_of
from spartanc.runtime_py.task_types.task_type import TaskType

FORMAT = "spartanc-task"
DENSE, SPARSE = "1", "2"  # format versions: every tensor as it is; some without their zeros
SUFFIX = ".safetensors"
LAYER_NORMS = ("none", "post")
_PREFIX = b'{"__metadata__":{"digest":"'
_DIGEST_AT = 8 + len(_PREFIX)
_DIGITS = 64
_ALIGNMENT = 64
_HEADER_LIMIT = 4 << 20
_FILE_LIMIT = (1 << 31) - 1  # bytes; what a Java buffer holds
_FORMAT_NAMES = {np.dtype(dtype): name for name, dtype in DTYPES.items()}


@dataclass(frozen=True)
class MemoryShape:
    parents: int
    cells: int
    top_k: int
    temperature: float
    layer_norm: str


@dataclass(frozen=True)
class TaskFile:
    """A task whose file is sound in itself.

    tensors: views of the mapped file, in the program's order; those that are stored without zeros with them again.
    """

    path: Path
    name: str
    digest: str
    backbone: str
    quantization: str
    task_type: TaskType
    labels: tuple[str, ...]
    memory: MemoryShape
    probe: Probe
    tensors: dict[str, np.ndarray]
    bytes: int
    pairs: bool | None = None

    @property
    def classes(self) -> int:
        return self.task_type.outputs(self.labels)


def dtype_name(dtype: np.dtype) -> str:
    """As the format spells it."""
    return _FORMAT_NAMES[np.dtype(dtype)]


def write_task(path: Path, tensors: Mapping[str, np.ndarray], task: Mapping[str, Any]) -> str:
    """Write a task's file and return its digest. `tensors` in the program's order.

    Int8 tensors with so many zeros that the file gets smaller are stored without them, in a file of version 2.
    """
    packed = {name: without_zeros(array) for name, array in tensors.items() if array.dtype == np.int8}
    smaller = {name: stored for name, stored in packed.items() if stored is not None}
    if smaller:
        task = {**task, "sparse": {name: list(tensors[name].shape) for name in smaller}}
        tensors = {**tensors, **smaller}  # in their order
    header: dict[str, Any] = {
        "__metadata__": {
            "digest": "0" * _DIGITS,
            "format": FORMAT,
            "format_version": SPARSE if smaller else DENSE,
            "task": json.dumps(task, ensure_ascii=False, allow_nan=False),
        }
    }
    offset = 0
    for name, array in tensors.items():
        end = offset + array.nbytes
        header[name] = {
            "dtype": _FORMAT_NAMES[array.dtype],
            "shape": list(array.shape),
            "data_offsets": [offset, end],
        }
        offset = end
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
    assert text.startswith(_PREFIX)
    text += b" " * (-(8 + len(text)) % _ALIGNMENT)
    data = bytearray(struct.pack("<Q", len(text)) + text)
    for array in tensors.values():
        data += np.ascontiguousarray(array).tobytes()
    digest = reseal(data)
    path.write_bytes(data)
    return digest


def labels_as_written(labels: Sequence[str], thresholds: Sequence[float]) -> list[Any]:
    """A task's `labels`: texts, or pairs of a text and its threshold where the task type has thresholds.

    Pairs, and no further member: a reader that does not know the task type then refuses that by its name.
    """
    return [list(pair) for pair in zip(labels, thresholds, strict=True)] if thresholds else list(labels)


def reseal(data: bytearray) -> str:
    """Put the digest that belongs to `data` into it."""
    data[_DIGEST_AT : _DIGEST_AT + _DIGITS] = b"0" * _DIGITS
    digest = hashlib.sha256(data).hexdigest()
    data[_DIGEST_AT : _DIGEST_AT + _DIGITS] = digest.encode()
    return digest


def open_task(path: str | Path) -> TaskFile:
    """Map `path` and check it in itself (checks 1, 2 and half of 4 in docs/formats/task.md); UsageError if unsound."""
    path = Path(path)
    try:
        return _read(path, _map(path))
    except UsageError as error:
        raise UsageError(f"task file `{path}`: {error.message}", error.hint) from error


def choose_task(bundle: Bundle, task: str | None) -> TaskFile | None:
    """The fleet's task with that name or file, checked except for its self-test; None for a bundle of one task.

    Raises UsageError if `task` is given for a bundle of one task, or missing for a fleet.
    """
    if not bundle.is_fleet:
        if task is not None:
            raise UsageError(
                f"`{bundle.path}` holds one task, so `--task` has nothing to choose",
                hint="`spartanc compile --shared-backbone` makes a bundle of several tasks",
            )
        return None
    if task is None:
        names = ", ".join(bundle.manifest["fleet"]["tasks"]) or "none"
        raise UsageError(f"`{bundle.path}` holds several tasks: {names}", hint="name one with `--task`")
    return find_task(bundle, task)


def find_task(bundle: Bundle, name_or_path: str | Path) -> TaskFile:
    """The bundle's task of that name, or the file at that path; checked except for its self-test."""
    tasks = bundle.manifest["fleet"]["tasks"]
    if name_or_path in bundle.damaged:
        raise UsageError(
            f"the task `{name_or_path}` of bundle `{bundle.path}` can't be used: {bundle.damaged[str(name_or_path)]}",
            hint="copy that file again; the other tasks can be used",
        )
    if name_or_path in tasks:
        path = bundle.path / tasks[name_or_path]["file"]
    elif not Path(name_or_path).exists():
        names = ", ".join(tasks) or "none"
        raise UsageError(f"`{bundle.path}` has no task `{name_or_path}`, nor is there such a file", f"it has {names}")
    else:
        path = Path(name_or_path)
    task = open_task(path)
    check_task(task, read_interface(bundle.manifest, bundle.path))
    return task


def check_task(task: TaskFile, fleet: FleetInterface) -> None:
    """Check the task against the fleet (3 and `.layout` of 4 in docs/formats/task.md); UsageError names both sides."""
    where = f"task file `{task.path}`"
    if task.backbone != fleet.backbone:
        raise UsageError(
            f"{where} was made for the backbone `{task.backbone}`, this fleet's is `{fleet.backbone}`",
            hint="`spartanc add-task FLEET MODEL` makes a task's file for a fleet, if the model is of its backbone",
        )
    if task.quantization != fleet.quantization:
        raise UsageError(
            f"{where} is quantised as `{task.quantization}`, this fleet takes `{fleet.quantization}`",
            hint="make it again with `spartanc add-task`",
        )
    memory = task.memory
    for name, value in {"parents": memory.parents, "cells": memory.cells, "classes": task.classes}.items():
        least, most = fleet.bounds[name]
        if not least <= value <= most:
            raise UsageError(
                f"{where} has {value} {name}, this fleet takes {least} to {most}",
                hint="compile the fleet anew with this task among its models: its bounds then include it",
            )
    if task.probe.input_ids.shape[1] > fleet.max_length:
        raise UsageError(
            f"{where} has a probe of {task.probe.input_ids.shape[1]} tokens, this fleet takes {fleet.max_length}"
        )
    expected = [each.name for each in fleet.inputs]
    if list(task.tensors) != expected:
        different = next((a, b) for a, b in zip([*task.tensors, None], [*expected, None], strict=False) if a != b)
        raise UsageError(f"{where} has {_or_nothing(different[0])} where the program takes {_or_nothing(different[1])}")
    sizes = sizes_of(memory.parents, memory.cells, task.classes)
    layout = [memory.parents, memory.cells, memory.top_k]
    for each in fleet.inputs:
        array = task.tensors[each.name]
        shape = tuple(sizes[size] if isinstance(size, str) else size for size in each.shape)
        if _FORMAT_NAMES[array.dtype] != each.dtype or array.shape != shape:
            raise UsageError(
                f"{where}: `{each.name}` is {_FORMAT_NAMES[array.dtype]} {list(array.shape)}, the program takes"
                f" {each.dtype} {list(shape)}"
            )
        if each.name.endswith(LAYOUT) and array.tolist() != layout:
            raise UsageError(f"{where}: `{each.name}` is {array.tolist()}, the task's memory is {layout}")


def check_probe(task: TaskFile, logits: np.ndarray) -> None:
    """Check 5 of docs/formats/task.md: UsageError unless `logits`, of the probe's input, are the expected ones."""
    wrong = task.probe.misses(logits)
    if wrong is not None:
        raise UsageError(
            f"task file `{task.path}`: {wrong}",
            hint="the task does not have the effect that it was written with; make it again with `spartanc add-task`",
        )


def _map(path: Path) -> np.ndarray:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except (OSError, ValueError) as error:
        raise UsageError(f"can't be read: {getattr(error, 'strerror', error)}") from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise UsageError("is not a plain file")
        if not _DIGEST_AT + _DIGITS <= status.st_size <= _FILE_LIMIT:
            raise UsageError(f"is too short or too large: {status.st_size} bytes")
        return np.frombuffer(mmap.mmap(descriptor, 0, prot=mmap.PROT_READ), np.uint8)
    except (OSError, ValueError) as error:
        raise UsageError(f"can't be mapped: {error}") from error
    finally:
        os.close(descriptor)


def _read(path: Path, data: np.ndarray) -> TaskFile:
    (header_size,) = struct.unpack("<Q", data[:8].tobytes())
    if header_size > min(_HEADER_LIMIT, len(data) - 8) or (8 + header_size) % _ALIGNMENT:
        raise UsageError(f"has a header of {header_size} bytes, which no task's file has", _DAMAGED)
    header_bytes = data[8 : 8 + header_size].tobytes()
    if not header_bytes.startswith(_PREFIX):
        raise UsageError("is not a task file: its header does not begin with its digest")
    recorded = data[_DIGEST_AT : _DIGEST_AT + _DIGITS].tobytes().decode("latin-1")
    found = _digest(data)
    if recorded != found:
        raise UsageError(f"has digest `{found}`, its header says `{recorded}`", _DAMAGED)
    header = _json(header_bytes, "header")
    metadata = header.pop("__metadata__")
    _require_keys("__metadata__", metadata, ("digest", "format", "format_version", "task"))
    if metadata["format"] != FORMAT:
        raise UsageError(f"has the format `{metadata['format']}`, expected `{FORMAT}`")
    version = metadata["format_version"]
    if version not in (DENSE, SPARSE):
        raise UsageError(f"has the format_version `{version}`, expected `{DENSE}` or `{SPARSE}`")
    tensors = _tensors(header, data[8 + header_size :])
    task = _json(metadata["task"], "`task`")
    pairs = task.pop("pairs", None)
    if not isinstance(pairs, bool | None):
        raise UsageError("has `pairs` that are neither true, false nor null")
    more = ("sparse",) if version == SPARSE else ()
    _require_keys("task", task, ("name", "backbone", "quantization", "problem", "labels", "memory", "probe", *more))
    if version == SPARSE:
        tensors |= _expanded(task["sparse"], tensors)
    name, labels, problem = task["name"], task["labels"], task["problem"]
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise UsageError(f"has the name `{name}`, which is not a valid task name")
    if not isinstance(task["backbone"], str) or not HEX_DIGEST.fullmatch(task["backbone"]):
        raise UsageError(f"has the backbone `{task['backbone']}`, which is not a digest")
    for field, known in (("problem", tuple(TASK_TYPES)), ("quantization", QUANTIZATIONS)):
        if task[field] not in known:
            raise UsageError(f"has the {field} `{task[field]}`, which is unknown", f"known: {', '.join(known)}")
    thresholds: list[Any] = []
    if isinstance(labels, list) and TASK_TYPES[problem].several:
        if not all(isinstance(each, list) and len(each) == 2 and is_number(each[1]) for each in labels):
            raise UsageError("has labels that are not pairs of a text and a threshold")
        labels, thresholds = [each[0] for each in labels], [each[1] for each in labels]
    if not isinstance(labels, list) or not all(is_text(label) for label in labels):
        raise UsageError("has labels that are not text")
    task_type = task_type_of(problem, labels, thresholds)
    memory = _memory(task["memory"])
    probe = read_probe(task["probe"], task_type.outputs(labels))
    return TaskFile(
        path=path,
        name=name,
        digest=found,
        backbone=task["backbone"],
        quantization=task["quantization"],
        task_type=task_type,
        labels=tuple(labels),
        memory=memory,
        probe=probe,
        tensors=tensors,
        bytes=len(data),
        pairs=pairs,
    )


_DAMAGED = "it is damaged or was altered; copy it again, or make it again with `spartanc add-task`"


def _digest(data: np.ndarray) -> str:
    view = data.data
    digest = hashlib.sha256(view[:_DIGEST_AT])
    digest.update(b"0" * _DIGITS)
    digest.update(view[_DIGEST_AT + _DIGITS :])
    return digest.hexdigest()


def _json(text: bytes | str, what: str) -> dict[str, Any]:
    try:
        found = parse_object(text)
    except ValueError as error:
        raise UsageError(f"has a {what} that is not valid JSON: {error}") from error
    if what == "header" and not _is_metadata(found.get("__metadata__")):
        raise UsageError(f"has a {what} without valid `__metadata__`")
    return found


def _is_metadata(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(each, str) for each in value.values())


def _tensors(header: dict[str, Any], data: np.ndarray) -> dict[str, np.ndarray]:
    tensors, expected = {}, 0
    for name, entry in header.items():
        if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
            raise UsageError(f"has no valid description of the tensor `{name}`")
        dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
        if not isinstance(dtype, str) or dtype not in DTYPES:
            raise UsageError(f"has the tensor `{name}` of the dtype `{dtype}`, which no task has")
        if not isinstance(shape, list) or len(shape) > MOST_DIMENSIONS:
            raise UsageError(f"has no valid shape of the tensor `{name}`")
        if not all(is_count(size, 1, MOST_SIZE) for size in shape):
            raise UsageError(f"has the tensor `{name}` of shape {shape}: every size is from 1 to {MOST_SIZE}")
        if not isinstance(offsets, list) or len(offsets) != 2 or not all(map(is_count, offsets)):
            raise UsageError(f"has no valid data_offsets of the tensor `{name}`")
        begin, end = offsets
        size = math.prod(shape) * np.dtype(DTYPES[dtype]).itemsize
        if begin != expected or end - begin != size or end > len(data):
            raise UsageError(
                f"has the tensor `{name}` of shape {shape} at bytes {begin} to {end} of {len(data)}: it overlaps"
                " another, leaves a gap, or reaches outside"
            )
        expected = end
        if begin % np.dtype(DTYPES[dtype]).itemsize:
            raise UsageError(f"has the tensor `{name}` at byte {begin}, where its elements are not aligned")
        tensor = data[begin:end].view(DTYPES[dtype]).reshape(shape)
        tensors[sys.intern(name)] = tensor  # one text for all open tasks, whose tensors have the same names
        if dtype in ("F32", "F16") and not np.isfinite(tensor).all():
            raise UsageError(f"has NaN or infinite values in the tensor `{name}`")
    if expected != len(data):
        raise UsageError(f"has {len(data) - expected} bytes after its last tensor")
    return tensors


def _expanded(sparse: Any, tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Those tensors that are stored without their zeros, with them."""
    if not isinstance(sparse, dict):
        raise UsageError("has a `sparse` that is no object")
    found = {}
    for name, shape in sparse.items():
        stored = tensors.get(name)
        if stored is None or stored.dtype != np.uint8 or stored.ndim != 1:
            raise UsageError(f"has `{name}` among its `sparse` tensors, and no U8 tensor of one dimension of that name")
        if not isinstance(shape, list) or len(shape) > MOST_DIMENSIONS:
            raise UsageError(f"has no valid shape of the sparse tensor `{name}`")
        if not all(is_count(size, 1, MOST_SIZE) for size in shape) or math.prod(shape) > MOST_SIZE:
            raise UsageError(f"has the sparse tensor `{name}` of shape {shape}: up to {MOST_SIZE} numbers")
        try:
            found[sys.intern(name)] = with_zeros(stored, shape)
        except UsageError as error:
            raise UsageError(f"has the sparse tensor `{name}`, which {error.message}") from error
    return found


def _memory(value: Any) -> MemoryShape:
    _require_keys("memory", value, ("parents", "cells", "top_k", "temperature", "layer_norm"))
    counts = (value["parents"], value["cells"], value["top_k"])
    temperature = value["temperature"]
    sound = (
        all(is_count(each, 1, MOST_SIZE) for each in counts)
        and value["cells"] % value["parents"] == 0
        and value["top_k"] <= value["parents"]
        and is_number(temperature)
        and temperature > 0
        and value["layer_norm"] in LAYER_NORMS
    )
    if not sound:
        raise UsageError(f"has an impossible `memory`: `{value}`")
    return MemoryShape(*counts, float(temperature), value["layer_norm"])


def _require_keys(what: str, value: Any, keys: tuple[str, ...]) -> None:
    if not isinstance(value, dict) or set(value) != set(keys):
        raise UsageError(f"has a `{what}` that does not hold exactly {', '.join(keys)}")


def _or_nothing(name: str | None) -> str:
    return "nothing" if name is None else f"`{name}`"
