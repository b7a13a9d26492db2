"""Int8 tensors without their zeros: what comes back is what went in, and nothing else is taken."""

from __future__ import annotations

import numpy as np
import pytest

from spartanc.errors import UsageError
from spartanc.runtime_py.sparse_cells import with_zeros, without_zeros
from spartanc.runtime_py.task_file import check_task, open_task, read_interface
from support import tasks


def cells(shape, share: float, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return (generator.integers(-128, 128, shape) * (generator.random(shape) < share)).astype(np.int8)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.8])
@pytest.mark.parametrize("shape", [(1001,), (48, 384), (3, 5, 67), (1000, 1, 1)])
def test_what_comes_back_is_what_went_in(shape, share):
    given = cells(shape, share)
    stored = without_zeros(given)
    assert stored is not None and stored.dtype == np.uint8 and len(stored) % 64 == 0
    # The mask and the numbers, spelled out here once more.
    bits = [str(int(value != 0)) for value in given.reshape(-1)]
    mask = bytes(int("".join(reversed(bits[at : at + 8])), 2) for at in range(0, len(bits), 8))
    assert stored.tobytes().startswith(mask + given[given != 0].tobytes())
    back = with_zeros(stored, shape)
    assert back.dtype == np.int8 and back.shape == shape and np.array_equal(back, given)
    assert back.ctypes.data % 64 == 0 and not back.flags.writeable


def test_half_of_the_numbers_take_five_eighths():
    given = cells((48, 384), 1.0) | 1
    given.reshape(-1)[::2] = 0
    stored = without_zeros(given)
    assert stored is not None and len(stored) == given.size * 5 // 8


@pytest.mark.parametrize("given", [cells((48, 384), 1.0), np.zeros((4, 4), np.int8)], ids=["dense", "too small"])
def test_what_would_not_be_smaller_stays(given):
    assert without_zeros(given) is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda stored: stored[:64], "is too short for the mask of 1001 numbers"),
        (lambda stored: stored[:-64], "has 320 bytes, its mask asks for"),
        (lambda stored: np.pad(stored, (0, 64)), "has 448 bytes, its mask asks for"),
        (lambda stored: np.where(np.arange(len(stored)) == 125, 0xFF, stored).astype(np.uint8), "beyond its 1001"),
        (
            lambda stored: np.where(np.arange(len(stored)) == len(stored) - 1, 1, stored).astype(np.uint8),
            "its mask asks",
        ),
        (lambda stored: np.where(np.arange(len(stored)) == 126, 0, stored).astype(np.uint8), "a zero that its mask"),
    ],
)
def test_bytes_that_are_of_no_tensor_are_refused(change, reason):
    given = cells((1001,), 0.2, seed=3)
    stored = without_zeros(given)
    assert stored is not None and len(stored) == 384
    with pytest.raises(UsageError, match=reason):
        with_zeros(change(stored), given.shape)


def test_a_task_file_is_smaller_and_gives_the_same_tensors(tmp_path):
    given = tasks.sparse_tensors()
    path = tasks.write(tmp_path / "task.safetensors", given)
    task = open_task(path)
    check_task(task, read_interface(tasks.SPARSE_MANIFEST, "fleet"))
    assert list(task.tensors) == list(given)
    assert all(np.array_equal(task.tensors[name], value) for name, value in given.items())
    dense = sum(value.nbytes for value in given.values())
    assert b'"format_version":"2"' in path.read_bytes()
    assert sum(value.nbytes for value in given.values()) == dense > path.stat().st_size - 4096
    assert b'"format_version":"1"' in tasks.write(tmp_path / "dense.safetensors").read_bytes()
