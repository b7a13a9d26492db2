"""Plain safetensors files with numpy alone: what goes to a device and comes back. Order is kept."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from spartanc.errors import UsageError

_NAMES = {
    "F32": "float32",
    "F64": "float64",
    "F16": "float16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
}
_DTYPES = {name: np.dtype(numpy_name) for name, numpy_name in _NAMES.items()}
_BY_DTYPE = {dtype: name for name, dtype in _DTYPES.items()}


def write_tensors(path: Path, tensors: Mapping[str, np.ndarray]) -> None:
    """Write `tensors` in their order, each starting at a multiple of 8 bytes where its predecessors allow."""
    header: dict[str, object] = {}
    offset = 0
    for name, array in tensors.items():
        if array.dtype not in _BY_DTYPE:
            raise UsageError(f"tensor `{name}` has the unsupported type {array.dtype}")
        end = offset + array.nbytes
        header[name] = {
            "dtype": _BY_DTYPE[array.dtype],
            "shape": list(array.shape),
            "data_offsets": [offset, end],
        }
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for array in tensors.values():
            file.write(np.ascontiguousarray(array).tobytes())


def read_tensors(path: Path) -> dict[str, np.ndarray]:
    """All tensors of `path`; UsageError where the file is not valid."""
    data = path.read_bytes()
    try:
        (size,) = struct.unpack_from("<Q", data)
        header = json.loads(data[8 : 8 + size])
        return {
            name: np.frombuffer(data[8 + size :][slice(*entry["data_offsets"])], _DTYPES[entry["dtype"]]).reshape(
                entry["shape"]
            )
            for name, entry in header.items()
            if name != "__metadata__"
        }
    except (struct.error, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"`{path}` is not a valid safetensors file: {error}") from error
