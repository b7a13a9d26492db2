"""What a fleet's program takes: the part `fleet` of its manifest, specified in docs/formats/bundle.md."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spartanc.base.schemes.catalogue import QUANTIZATIONS
from spartanc.errors import UsageError
from spartanc.runtime_py.strict_json import is_count

TASK_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
DTYPES = {"F32": np.float32, "F16": np.float16, "I64": np.int64, "I32": np.int32, "I8": np.int8, "U8": np.uint8}
BLOCK_COLUMNS = 16  # of packed logit weights
MOST_DIMENSIONS = 8
MOST_SIZE = (1 << 31) - 1
BOUNDED = ("parents", "cells", "classes")
LAYOUT = ".layout"  # names of the tensors that hold [parents, cells, top_k] end so
HEX_DIGEST = re.compile(r"[0-9a-f]{64}")


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
    """What the words in the shapes of task tensors mean."""
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


def read_interface(manifest: Mapping[str, Any], source: str | Path) -> FleetInterface:
    """The part of a fleet's manifest that tasks are checked against; UsageError if it breaks a rule of the format."""
    try:
        return _read(manifest)
    except _Wrong as wrong:
        raise UsageError(
            f"the manifest of `{source}` doesn't describe a fleet: {wrong}", hint="compile it again"
        ) from None


class _Wrong(Exception):
    """Which rule is broken."""


def _read(manifest: Mapping[str, Any]) -> FleetInterface:
    fleet = _object(manifest.get("fleet"), "`fleet`")
    digest = _object(fleet.get("backbone"), "`backbone`").get("digest")
    if not isinstance(digest, str) or not HEX_DIGEST.fullmatch(digest):
        raise _Wrong("`backbone` has no valid `digest`")
    quantization = fleet.get("quantization")
    if quantization not in QUANTIZATIONS:
        raise _Wrong(f"its quantization `{quantization}` is unknown")
    inputs = fleet.get("inputs")
    if not isinstance(inputs, list):
        raise _Wrong("`inputs` is not a list")
    _check_tasks(_object(fleet.get("tasks"), "`tasks`"), manifest.get("files", {}))
    bounds = _object(fleet.get("bounds"), "`bounds`")
    return FleetInterface(
        digest,
        quantization,
        manifest["max_length"],
        {name: _bounds(bounds.get(name), name) for name in BOUNDED},
        tuple(_input(each) for each in inputs),
    )


def _object(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _Wrong(f"{what} is not an object")
    return value


def _bounds(value: Any, name: str) -> tuple[int, int]:
    if isinstance(value, list) and len(value) == 2 and all(is_count(each, 1, MOST_SIZE) for each in value):
        least, most = value
        if least <= most:
            return least, most
    raise _Wrong(f"`bounds` has no valid `{name}`")


def _input(value: Any) -> TaskInput:
    entry = _object(value, "an entry of `inputs`")
    name, dtype, shape = entry.get("name"), entry.get("dtype"), entry.get("shape")
    if not isinstance(name, str) or not isinstance(dtype, str) or not isinstance(shape, list):
        raise _Wrong("an entry of `inputs` has no valid name, dtype and shape")
    if dtype not in DTYPES:
        raise _Wrong(f"`{name}` has the dtype `{dtype}`, which no task has")
    if len(shape) > MOST_DIMENSIONS:
        raise _Wrong(f"`{name}` has {len(shape)} dimensions, at most {MOST_DIMENSIONS} are allowed")
    for size in shape:
        if not (size in _WORDS if isinstance(size, str) else is_count(size, 1, MOST_SIZE)):
            raise _Wrong(f"`{name}` has the size `{size}`, which is neither a count nor a known word")
    if name.endswith(LAYOUT) and (dtype, shape) != ("I64", [3]):
        raise _Wrong(f"`{name}` is {dtype} {shape}, a layout is I64 [3]")
    return TaskInput(name, dtype, tuple(shape))


def _check_tasks(tasks: dict[str, Any], files: Mapping[str, Any]) -> None:
    for name, entry in tasks.items():
        if not TASK_NAME.fullmatch(name):
            raise _Wrong(f"`{name}` is not a valid task name")
        file = _object(entry, f"the task `{name}`").get("file")
        if not isinstance(file, str) or file not in files:
            raise _Wrong(f"the file of the task `{name}` is not one of `files`")


_WORDS = sizes_of(1, 1, 1)
