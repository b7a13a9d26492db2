"""A task's file: what one task adds to a shared backbone. Mapped, never copied, and never trusted.

It is a safetensors file (8 bytes of header length, a JSON header, the tensors' bytes), written in one exact way:

    header          begins with the bytes `{"__metadata__":{"digest":"`, 64 hexadecimal digits follow; it is padded with
                    spaces until the tensors start at a multiple of 64
    digest          SHA-256 of the whole file, with these 64 digits taken as zeros ("0")
    format          "spartanc-task"
    format_version  "1"
    task            JSON text of an object:
                      name          of the task
                      backbone      digest of the backbone that it was trained on, as the fleet's manifest has it
                      quantization  none, int8 or int4: the form of the task's tensors
                      problem       "classification" or "regression"
                      labels        names of the classes in the order of the logits; [] for regression
                      pairs         whether a row is two texts, null where that is not known; may be absent
                      memory        {parents, cells, top_k, temperature, layer_norm} of every memory
                      probe         {input_ids, attention_mask, logits, tolerance}: one input, [[…]] each, and
                                    what the task's program answers
    tensors         the program's inputs after ids and mask: by name, in the program's order, without a gap

A reader checks, before it uses anything:
  1. header and tensors as safetensors asks; no name twice; nothing left over; the digest;
  2. against the fleet's manifest (`fleet`): backbone, quantisation, memory and classes within `bounds`, and the tensors
     with names, order, types and shapes of `inputs`, where a size is a number or one of the words of `sizes_of`;
  3. every `layout` tensor is [parents, cells, top_k]; every float32 and float16 is finite;
  4. by running the probe: every logit within `tolerance`. A task that loads and has no effect ends here.

The digest guards against accidents: whoever can change a file can change its digest too. What checks 2 and 3 leave
open changes answers and nothing else.
"""

from __future__ import annotations

import hashlib
import json
import math
import mmap
import os
import re
import stat
import struct
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spartanc.base.schemes.catalogue import QUANTIZATIONS
from spartanc.errors import UsageError
from spartanc.runtime_py.bundle import Bundle
from spartanc.runtime_py.probe import Probe, is_number, read_probe
from spartanc.runtime_py.strict_json import parse_object
from spartanc.runtime_py.task_types.catalogue import TASK_TYPES
from spartanc.runtime_py.task_types.task_type import TaskType

FORMAT = "spartanc-task"
FORMAT_VERSION = "1"
SUFFIX = ".safetensors"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
BLOCK_COLUMNS = 16  # of packed logit weights
_PREFIX = b'{"__metadata__":{"digest":"'
_DIGEST_AT = 8 + len(_PREFIX)
_DIGITS = 64
_ALIGNMENT = 64
_HEADER_LIMIT = 4 << 20
_HEX = re.compile(rb"[0-9a-f]{64}")
_DTYPES = {"F32": np.float32, "F16": np.float16, "I64": np.int64, "I32": np.int32, "I8": np.int8, "U8": np.uint8}
_FORMAT_NAMES = {np.dtype(dtype): name for name, dtype in _DTYPES.items()}


@dataclass(frozen=True)
class MemoryShape:
    parents: int
    cells: int
    top_k: int
    temperature: float
    layer_norm: str


@dataclass(frozen=True)
class TaskFile:
    """A task whose file is sound in itself. `tensors` are views of the mapped file, in the program's order."""

    path: Path
    name: str
    digest: str
    backbone: str
    quantization: str
    problem: str
    labels: tuple[str, ...]
    memory: MemoryShape
    probe: Probe
    tensors: dict[str, np.ndarray]
    bytes: int
    pairs: bool | None = None

    @property
    def task_type(self) -> TaskType:
        return TASK_TYPES[self.problem]

    @property
    def classes(self) -> int:
        return self.task_type.outputs(self.labels)


@dataclass(frozen=True)
class TaskInput:
    """One input of the program after ids and mask; a size is a number or a word of `sizes_of`."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True)
class FleetInterface:
    """What a fleet's program takes; bounds hold the least and the largest of `parents`, `cells` and `classes`."""

    backbone: str
    quantization: str
    max_length: int
    bounds: dict[str, tuple[int, int]]
    inputs: tuple[TaskInput, ...]


def sizes_of(parents: int, cells: int, classes: int) -> dict[str, int]:
    """What the words in the shapes of task tensors stand for."""
    return {
        "parents": parents,
        "cells": cells,
        "classes": classes,
        "children": cells // parents,
        "blocks": -(-(parents + cells) // BLOCK_COLUMNS),
        "parent_blocks": -(-parents // BLOCK_COLUMNS),
        "cell_blocks": -(-cells // BLOCK_COLUMNS),
        "cell_columns": -(-cells // BLOCK_COLUMNS) * BLOCK_COLUMNS,
    }


def dtype_name(dtype: np.dtype) -> str:
    """As the format spells it."""
    return _FORMAT_NAMES[np.dtype(dtype)]


def write_task(path: Path, tensors: Mapping[str, np.ndarray], task: Mapping[str, Any]) -> str:
    """Write a task's file and return its digest. `tensors` in the program's order."""
    header: dict[str, Any] = {
        "__metadata__": {
            "digest": "0" * _DIGITS,
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
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


def reseal(data: bytearray) -> str:
    """Put the digest that belongs to `data` into it."""
    data[_DIGEST_AT : _DIGEST_AT + _DIGITS] = b"0" * _DIGITS
    digest = hashlib.sha256(data).hexdigest()
    data[_DIGEST_AT : _DIGEST_AT + _DIGITS] = digest.encode()
    return digest


def open_task(path: str | Path) -> TaskFile:
    """Map `path` and check it in itself (1. and the last part of 3. above); UsageError where it is not sound."""
    path = Path(path)
    try:
        return _read(path, _map(path))
    except UsageError as error:
        raise UsageError(f"task file `{path}`: {error.message}", error.hint) from error


def read_interface(manifest: Mapping[str, Any], source: str | Path) -> FleetInterface:
    """The part of a fleet's manifest that tasks are checked against; UsageError where it is malformed."""
    try:
        fleet = manifest["fleet"]
        bounds = {name: (int(fleet["bounds"][name][0]), int(fleet["bounds"][name][1])) for name in _BOUNDED}
        inputs = tuple(TaskInput(e["name"], e["dtype"], tuple(e["shape"])) for e in fleet["inputs"])
        words = sizes_of(1, 1, 1)
        sound = all(
            isinstance(each.name, str)
            and each.dtype in _FORMAT_NAMES.values()
            and all(size in words if isinstance(size, str) else _is_count(size) for size in each.shape)
            for each in inputs
        )
        if sound and isinstance(fleet["backbone"]["digest"], str):
            return FleetInterface(
                fleet["backbone"]["digest"], fleet["quantization"], manifest["max_length"], bounds, inputs
            )
    except (KeyError, TypeError, ValueError, IndexError):
        pass
    raise UsageError(f"the manifest of `{source}` doesn't describe a fleet", hint="compile it again")


def find_task(bundle: Bundle, name_or_path: str | Path) -> TaskFile:
    """The bundle's task of that name, or the file at that path; all of the checks but the probe (4)."""
    tasks = bundle.manifest["fleet"]["tasks"]
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
    """Checks 2 and 3; UsageError with both sides of whatever disagrees."""
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
        if each.name.endswith(".layout") and array.tolist() != layout:
            raise UsageError(f"{where}: `{each.name}` says {array.tolist()}, the task's memory is {layout}")


def check_probe(task: TaskFile, logits: np.ndarray) -> None:
    """Check 4: UsageError unless `logits`, of the probe's input, are the expected ones."""
    wrong = task.probe.misses(logits)
    if wrong is not None:
        raise UsageError(
            f"task file `{task.path}`: {wrong}",
            hint="the task does not have the effect that it was written with; make it again with `spartanc add-task`",
        )


_BOUNDED = ("parents", "cells", "classes")


def _map(path: Path) -> np.ndarray:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except (OSError, ValueError) as error:
        raise UsageError(f"can't be read: {getattr(error, 'strerror', error)}") from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise UsageError("is no plain file")
        if status.st_size < _DIGEST_AT + _DIGITS:
            raise UsageError(f"is too short: {status.st_size} bytes")
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
        raise UsageError("is no task's file: its header does not begin with its digest")
    recorded = data[_DIGEST_AT : _DIGEST_AT + _DIGITS].tobytes()
    found = _digest(data)
    if not _HEX.fullmatch(recorded) or recorded.decode() != found:
        raise UsageError(f"has digest `{found}`, its header says `{recorded.decode('latin-1')}`", _DAMAGED)
    header = _json(header_bytes, "header")
    metadata = header.pop("__metadata__")
    if set(metadata) != {"digest", "format", "format_version", "task"} or metadata["format"] != FORMAT:
        raise UsageError(f"is no `{FORMAT}` file")
    if metadata["format_version"] != FORMAT_VERSION:
        raise UsageError(f"has format version `{metadata['format_version']}`, expected `{FORMAT_VERSION}`")
    tensors = _tensors(header, data[8 + header_size :])
    task = _json(metadata["task"], "`task`")
    pairs = task.pop("pairs", None)
    if not isinstance(pairs, bool | None):
        raise UsageError("has `pairs` that are neither true, false nor null")
    _require_keys("task", task, ("name", "backbone", "quantization", "problem", "labels", "memory", "probe"))
    name, labels, problem = task["name"], task["labels"], task["problem"]
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise UsageError("has a name that is not one")
    if not isinstance(task["backbone"], str) or not _HEX.fullmatch(task["backbone"].encode()):
        raise UsageError("names no backbone")
    if problem not in TASK_TYPES or task["quantization"] not in QUANTIZATIONS:
        raise UsageError(f"has problem `{problem}` and quantisation `{task['quantization']}`, which are not known")
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise UsageError("has labels that are not text")
    wrong = TASK_TYPES[problem].wrong_labels(labels)
    if wrong is not None:
        raise UsageError(f"has {len(labels)} labels for {problem}: {wrong}")
    memory = _memory(task["memory"])
    probe = read_probe(task["probe"], TASK_TYPES[problem].outputs(labels))
    return TaskFile(
        path=path,
        name=name,
        digest=found,
        backbone=task["backbone"],
        quantization=task["quantization"],
        problem=problem,
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
        raise UsageError(f"has a {what} that is no JSON: {error}") from error
    if what == "header" and not _is_metadata(found.get("__metadata__")):
        raise UsageError(f"has a {what} without the entries of one")
    return found


def _is_metadata(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(each, str) for each in value.values())


def _tensors(header: dict[str, Any], data: np.ndarray) -> dict[str, np.ndarray]:
    tensors, expected = {}, 0
    for name, entry in header.items():
        if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
            raise UsageError(f"has no valid description of the tensor `{name}`")
        dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
        if not isinstance(dtype, str) or dtype not in _DTYPES:
            raise UsageError(f"has the tensor `{name}` of the type `{dtype}`, which no task has")
        if not _are_counts(shape, 8) or not _are_counts(offsets, 2) or len(offsets) != 2:
            raise UsageError(f"has no valid shape and place of the tensor `{name}`")
        begin, end = offsets
        size = math.prod(shape) * np.dtype(_DTYPES[dtype]).itemsize
        if begin != expected or end - begin != size or end > len(data):
            raise UsageError(
                f"has the tensor `{name}` of shape {shape} at bytes {begin} to {end} of {len(data)}: it overlaps"
                " another, leaves a gap, or reaches outside"
            )
        expected = end
        if begin % np.dtype(_DTYPES[dtype]).itemsize:
            raise UsageError(f"has the tensor `{name}` at byte {begin}, where its elements are not aligned")
        tensor = data[begin:end].view(_DTYPES[dtype]).reshape(shape)
        tensors[sys.intern(name)] = tensor  # one text for all open tasks, whose tensors have the same names
        if dtype in ("F32", "F16") and not np.isfinite(tensor).all():
            raise UsageError(f"has NaN or infinite values in the tensor `{name}`")
    if expected != len(data):
        raise UsageError(f"has {len(data) - expected} bytes after its last tensor")
    return tensors


def _memory(value: Any) -> MemoryShape:
    _require_keys("memory", value, ("parents", "cells", "top_k", "temperature", "layer_norm"))
    counts = (value["parents"], value["cells"], value["top_k"])
    temperature = value["temperature"]
    sound = (
        all(_is_count(each) and each >= 1 for each in counts)
        and value["cells"] % value["parents"] == 0
        and value["top_k"] <= value["parents"]
        and is_number(temperature)
        and temperature > 0
        and isinstance(value["layer_norm"], str)
    )
    if not sound:
        raise UsageError(f"has a memory that can't be: `{value}`")
    return MemoryShape(*counts, float(temperature), value["layer_norm"])


def _require_keys(what: str, value: Any, keys: tuple[str, ...]) -> None:
    if not isinstance(value, dict) or set(value) != set(keys):
        raise UsageError(f"has a `{what}` that does not hold exactly {', '.join(keys)}")


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 62


def _are_counts(value: Any, most: int) -> bool:
    return isinstance(value, list) and len(value) <= most and all(map(_is_count, value))


def _or_nothing(name: str | None) -> str:
    return "nothing" if name is None else f"`{name}`"
