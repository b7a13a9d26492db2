"""Int8 tensors whose zeros are left out: a bit for every number says whether it is there. docs/formats/task.md, Sparse.

Legend: N numbers of a tensor.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from spartanc.errors import UsageError

ALIGNMENT = 64  # stored tensors are whole cache lines, so that what follows stays aligned; so are expanded ones


def without_zeros(tensor: np.ndarray) -> np.ndarray | None:
    """The stored form uint8 [bytes] of an int8 tensor; None where it is no smaller."""
    numbers_N = np.ascontiguousarray(tensor).reshape(-1)
    there_N = numbers_N != 0
    stored = np.concatenate([np.packbits(there_N, bitorder="little"), numbers_N[there_N].view(np.uint8)])
    if _padded(len(stored)) >= len(numbers_N):
        return None
    return np.pad(stored, (0, -len(stored) % ALIGNMENT))


def with_zeros(stored: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """The int8 tensor of `shape` that `stored` uint8 [bytes] is of. Raises UsageError where it is of none."""
    count = math.prod(shape)
    mask_bytes = -(-count // 8)
    if mask_bytes > len(stored):
        raise UsageError(f"is too short for the mask of {count} numbers")
    bits = np.unpackbits(stored[:mask_bytes], bitorder="little")
    if bits[count:].any():
        raise UsageError(f"has a mask with bits beyond its {count} numbers")
    there_N = bits[:count].view(bool)
    end = mask_bytes + int(np.count_nonzero(there_N))
    if _padded(end) != len(stored) or stored[end:].any():
        raise UsageError(f"has {len(stored)} bytes, its mask asks for {end}, filled up with zeros to {_padded(end)}")
    values = stored[mask_bytes:end]
    if not values.all():
        raise UsageError("holds a zero that its mask says is not one")
    room = np.zeros(count + ALIGNMENT, np.int8)
    numbers_N = room[-room.ctypes.data % ALIGNMENT :][:count]
    numbers_N[there_N] = values.view(np.int8)
    numbers_N.flags.writeable = False
    return numbers_N.reshape(tuple(shape))


def _padded(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT
