"""Small trained classifiers as captured programs, with rows to run them on; captured once for all tests."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch.export import ExportedProgram

from spartanc.compiler.capture import capture
from spartanc.runtime_py.session import pad
from support.models import tiny_model

MAX_LENGTH = 30


@cache
def captured(architecture: str = "bert") -> ExportedProgram:
    """A classifier of two layers of `architecture`; passes leave it as it is, so it is shared."""
    model = tiny_model(architecture)
    return capture(model.module, MAX_LENGTH, model.min_length)


def rows(shortest: int = 2) -> list[tuple[np.ndarray, np.ndarray]]:
    """Ids and masks of several lengths: shortest, two sentences, padded, longest; none below `shortest`."""
    rng = np.random.default_rng(0)
    result = []
    for length, kept in ((2, 2), (9, 9), (9, 6), (MAX_LENGTH, MAX_LENGTH)):
        ids, mask = rng.integers(4, 60, (1, length)), np.ones((1, length), np.int64)
        mask[:, kept:] = 0
        if length > 4:
            ids[:, 4] = 3
        result.append(pad(ids, mask, shortest))
    return result


def outputs(program: ExportedProgram) -> torch.Tensor:
    module, shortest = program.module(), min(int(each.lower) for each in program.range_constraints.values())
    with torch.no_grad():
        return torch.cat([module(*map(torch.from_numpy, row)) for row in rows(shortest)])


def assert_same_results(program: ExportedProgram, reference: ExportedProgram, tolerance: float) -> None:
    got, expected = outputs(program), outputs(reference)
    assert torch.isfinite(expected).all()
    assert expected.abs().max() > 0
    assert (got - expected).abs().max() <= tolerance
