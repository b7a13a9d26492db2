"""The native session in this process, by ctypes. Needs numpy and the library, no torch.

executorch's Python package may be imported before or after: both use one copy of ExecuTorch's libraries, see
`loaded_libraries.py`.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Iterable, Mapping
from ctypes import (
    POINTER,
    Structure,
    byref,
    c_char_p,
    c_int32,
    c_int64,
    c_size_t,
    c_uint32,
    c_uint64,
    c_void_p,
)
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spartanc.errors import MissingToolError, SpartancError, UsageError
from spartanc.runtime_py.ids import check_ids
from spartanc.runtime_py.loaded_libraries import require_same_executorch

API_VERSION = 1
_MAX_RANK = 8
_MESSAGE_SIZE = 1024
_DTYPES = {0: np.float32, 1: np.int64, 2: np.int32, 3: np.int8, 4: np.uint8, 5: np.bool_, 6: np.float16}
_CODES = {np.dtype(dtype): code for code, dtype in _DTYPES.items()}
_USER_STATUSES = {1, 2, 3, 4}  # bad argument, file, program, input


class SessionError(SpartancError):
    """The program failed while it ran, or memory ran out."""


class _Options(Structure):
    _fields_ = [
        ("struct_size", c_uint32),
        ("threads", c_int32),
        ("weight_cache", c_int32),
        ("profile", c_int32),
    ]


class _TensorInfo(Structure):
    _fields_ = [
        ("dtype", c_int32),
        ("rank", c_int32),
        ("is_static", c_int32),
        ("min_sizes", c_int32 * _MAX_RANK),
        ("max_sizes", c_int32 * _MAX_RANK),
    ]


class _Tensor(Structure):
    _fields_ = [
        ("dtype", c_int32),
        ("rank", c_int32),
        ("sizes", c_int64 * _MAX_RANK),
        ("data", c_void_p),
        ("bytes", c_uint64),
    ]


class _Statistics(Structure):
    _fields_ = [
        ("struct_size", c_uint32),
        ("threads", c_uint32),
        ("load_ns", c_uint64),
        ("last_run_ns", c_uint64),
        ("total_run_ns", c_uint64),
        ("runs", c_uint64),
        ("planned_bytes", c_uint64),
        ("program_bytes", c_uint64),
        ("peak_rss_bytes", c_uint64),
        ("last_inputs_ns", c_uint64),
    ]


@dataclass(frozen=True)
class TensorInfo:
    """What the program takes or gives: the least and largest size of every dimension."""

    dtype: np.dtype | None
    least: tuple[int, ...]
    most: tuple[int, ...]


@dataclass(frozen=True)
class Statistics:
    """Nanoseconds and bytes; `peak_rss_bytes` is the whole process's, up to now; `last_inputs_ns` is the part of
    `last_run_ns` that went by before the first operator ran.
    """

    threads: int
    load_ns: int
    last_run_ns: int
    total_run_ns: int
    runs: int
    planned_bytes: int
    program_bytes: int
    peak_rss_bytes: int
    last_inputs_ns: int


def trim(input_ids: np.ndarray, attention_mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both [1, L] without the positions after the mask's last one; they cost time and change nothing."""
    kept = np.flatnonzero(attention_mask[0])
    if len(kept) == 0:
        raise UsageError("the attention mask is empty")
    length = int(kept[-1]) + 1
    return input_ids[:, :length], attention_mask[:, :length]


def pad(input_ids: np.ndarray, attention_mask: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Both [1, L], padded to `length` if they are shorter, as a session pads them: with id 0 and mask 0."""
    missing = ((0, 0), (0, max(0, length - input_ids.shape[1])))
    return np.pad(input_ids, missing), np.pad(attention_mask, missing)


class BoundInputs:
    """Inputs that follow ids and mask, made ready once: which of them a run takes is then a matter of pointers.

    The arrays are read where they are, and kept alive.
    """

    def __init__(self, arrays: Iterable[np.ndarray]):
        self._arrays = [np.ascontiguousarray(array) for array in arrays]
        # As bytes, and not as an array of structs: a ctypes array keeps every struct assigned
        # to it alive, which would double what a small task takes beside its tensors.
        self._tensors = bytes(2 * ctypes.sizeof(_Tensor)) + b"".join(bytes(_as_tensor(each)) for each in self._arrays)
        self._type = _Tensor * (2 + len(self._arrays))

    def after(self, input_ids: np.ndarray, attention_mask: np.ndarray) -> ctypes.Array:
        """All inputs of one run; `input_ids` and `attention_mask` must outlive it."""
        tensors = self._type.from_buffer_copy(self._tensors)
        tensors[0], tensors[1] = _as_tensor(input_ids), _as_tensor(attention_mask)
        return tensors


class Session:
    """A loaded program. Use as a context manager, or call `close`.

    Threads may share one: a program runs one row at a time, so they wait their turn, each gets the answer to its own
    row, and one that waits while the session is closed is told so. For rows that run at once take a session a thread.
    """

    def __init__(
        self,
        program: str | Path,
        *,
        library: str | Path,
        threads: int | None = None,
        weight_cache: bool = False,
        profile: bool = False,
        manifest: Mapping[str, Any] | None = None,
    ):
        """Map and load `program`; `library` is libspartan.so.

        `manifest` is that of the program's bundle: inputs are held to what it says of them, see `narrow_inputs`.
        `threads` sets the pool of the whole process, so it must be the same for all sessions that are open.
        Raises UsageError where the program is missing or not valid, MissingToolError where the library is.
        """
        self._handle = c_void_p()
        self._turn = threading.RLock()
        self._vocabulary: int | None = None
        self._library = _load_library(Path(library))
        options = _Options(ctypes.sizeof(_Options), threads or 0, weight_cache, profile)
        self._call("spartan_open", os.fsencode(program), byref(options), byref(self._handle))
        self.inputs = self._describe("input")
        self.outputs = self._describe("output")
        if manifest is not None:
            try:
                self.narrow_inputs(manifest)
            except BaseException:
                self.close()
                raise

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the program, when the call that is under way has ended."""
        with self._turn:
            if self._handle:
                self._library.spartan_close(self._handle)
                self._handle = c_void_p()

    def run(
        self,
        input_ids: np.ndarray,
        attention_mask: np.ndarray,
        *more: np.ndarray | BoundInputs,
        keep_padding: bool = False,
    ) -> np.ndarray:
        """Logits float32 [1, C] of ids and mask int64 [1, L]; `more` are the inputs that follow, or all of them bound.

        Rows that are shorter than the manifest's `min_length` are padded up to it. Raises UsageError where an input's
        type or any dimension is outside what the program takes, or an id outside the vocabulary that the manifest
        states; SessionError where the program fails.
        """
        if not keep_padding and attention_mask.ndim == 2 and attention_mask.shape == input_ids.shape:
            input_ids, attention_mask = trim(input_ids, attention_mask)
        ids, mask = np.ascontiguousarray(input_ids), np.ascontiguousarray(attention_mask)
        bound = more[0] if len(more) == 1 and isinstance(more[0], BoundInputs) else BoundInputs(more)  # type: ignore[arg-type]
        tensors = bound.after(ids, mask)
        if self._vocabulary is not None and ids.dtype.kind in "iu":
            check_ids(ids, self._vocabulary)
        with self._turn:
            self._require_open()
            self._call("spartan_run", self._handle, tensors, c_size_t(len(tensors)))
            return self._output(0)

    def narrow_inputs(self, manifest: Mapping[str, Any]) -> None:
        """Hold every dimension of the inputs to the manifest's `inputs`, and those of a fleet's tasks.

        A program states upper bounds only, a manifest knows that a batch is exactly 1 and a hidden size exactly 384.
        Sizes that tasks may differ in are checked where a task is. Rows that are shorter than its `min_length` are
        padded from then on. Raises UsageError where manifest and program contradict each other.
        """
        ids_and_mask = manifest.get("inputs", ({"shape": ()},) * 2)  # undescribed: as the program says
        described = [*ids_and_mask, *manifest.get("fleet", {}).get("inputs", ())]
        with self._turn:
            self._require_open()
            try:
                for index, given in enumerate(described):
                    for dimension, size in enumerate(given["shape"]):
                        least, most = (1, manifest["max_length"]) if size == "L" else (size, size)
                        if isinstance(most, int):
                            where = c_size_t(index), c_size_t(dimension)
                            self._call("spartan_set_bounds", self._handle, *where, least, most)
                if (least := manifest.get("min_length", 1)) > 1:
                    self._call("spartan_set_min_length", self._handle, least)
            except UsageError as error:
                raise UsageError(f"the manifest does not describe its program: {error.message}") from error
            self.inputs = self._describe("input")
            self._vocabulary = manifest.get("vocabulary_size")

    @property
    def statistics(self) -> Statistics:
        raw = _Statistics(struct_size=ctypes.sizeof(_Statistics))
        with self._turn:
            self._require_open()
            self._library.spartan_statistics_of(self._handle, byref(raw))
        return Statistics(**{name: getattr(raw, name) for name in Statistics.__dataclass_fields__})

    def profile(self) -> bytes:
        """The ETDump of all runs so far; once, and only of a session that was opened with `profile`."""
        data, size = c_void_p(), c_size_t()
        with self._turn:
            self._require_open()
            self._call("spartan_profile", self._handle, byref(data), byref(size))
            return ctypes.string_at(data, size.value)

    def _output(self, index: int) -> np.ndarray:
        tensor = _Tensor()
        if self._library.spartan_output(self._handle, c_size_t(index), byref(tensor)) != 0:
            raise SessionError(f"the program has no output {index}")
        dtype = _DTYPES.get(tensor.dtype)
        if dtype is None:
            raise SessionError(f"output {index} has a type that is not supported")
        data = ctypes.string_at(tensor.data, tensor.bytes)
        return np.frombuffer(data, dtype).reshape(tuple(tensor.sizes[: tensor.rank])).copy()

    def _describe(self, kind: str) -> tuple[TensorInfo, ...]:
        infos = []
        for index in range(getattr(self._library, f"spartan_{kind}_count")(self._handle)):
            raw = _TensorInfo()
            getattr(self._library, f"spartan_{kind}_info")(self._handle, c_size_t(index), byref(raw))
            dtype = _DTYPES.get(raw.dtype)
            infos.append(
                TensorInfo(
                    None if dtype is None else np.dtype(dtype),
                    tuple(raw.min_sizes[: raw.rank]),
                    tuple(raw.max_sizes[: raw.rank]),
                )
            )
        return tuple(infos)

    def _require_open(self) -> None:
        if not self._handle:
            raise UsageError("the session is closed")

    def _call(self, name: str, *arguments: object) -> None:
        message = ctypes.create_string_buffer(_MESSAGE_SIZE)
        status = getattr(self._library, name)(*arguments, message, c_size_t(_MESSAGE_SIZE))
        if status != 0:
            text = message.value.decode(errors="replace") or f"`{name}` failed with status {status}"
            raise UsageError(text) if status in _USER_STATUSES else SessionError(text)


def _as_tensor(array: np.ndarray) -> _Tensor:
    code = _CODES.get(array.dtype)
    if code is None:
        raise UsageError(f"an input must be one of {', '.join(map(str, _CODES))}, got {array.dtype}")
    if array.ndim > _MAX_RANK:
        raise UsageError(f"an input has {array.ndim} dimensions, at most {_MAX_RANK} are supported")
    sizes = (c_int64 * _MAX_RANK)(*array.shape)
    return _Tensor(code, array.ndim, sizes, array.ctypes.data, array.nbytes)


def _load_library(path: Path) -> ctypes.CDLL:
    require_same_executorch(path)
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        raise MissingToolError(f"the native library `{path}` can't be loaded: {error}") from error
    library.spartan_api_version.restype = c_int32
    version = library.spartan_api_version()
    if version != API_VERSION:
        raise MissingToolError(f"`{path}` has interface version {version}, this spartanc speaks {API_VERSION}")
    library.spartan_open.argtypes = [c_char_p, POINTER(_Options), POINTER(c_void_p), c_char_p, c_size_t]
    library.spartan_close.argtypes = [c_void_p]
    library.spartan_close.restype = None
    library.spartan_set_bounds.argtypes = [c_void_p, c_size_t, c_size_t, c_int32, c_int32, c_char_p, c_size_t]
    library.spartan_set_min_length.argtypes = [c_void_p, c_int32, c_char_p, c_size_t]
    library.spartan_run.argtypes = [c_void_p, POINTER(_Tensor), c_size_t, c_char_p, c_size_t]
    library.spartan_output.argtypes = [c_void_p, c_size_t, POINTER(_Tensor)]
    library.spartan_statistics_of.argtypes = [c_void_p, POINTER(_Statistics)]
    library.spartan_profile.argtypes = [c_void_p, POINTER(c_void_p), POINTER(c_size_t), c_char_p, c_size_t]
    for kind in ("input", "output"):
        count, info = getattr(library, f"spartan_{kind}_count"), getattr(library, f"spartan_{kind}_info")
        count.argtypes, count.restype = [c_void_p], c_size_t
        info.argtypes = [c_void_p, c_size_t, POINTER(_TensorInfo)]
    return library
