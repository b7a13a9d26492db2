"""All passes, in order, over encoders of uncommon shapes: one head, odd widths, one layer, inputs of one token."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from spartanc.compiler.capture import capture
from spartanc.models.memory import SpartanConfig
from spartanc.passes.manager import run_passes
from spartanc.passes.pipelines import exact_passes, final_passes
from support.models import tiny_model

LENGTHS = (1, 2, 3, 8, 12)
SHAPES = [  # heads, numbers of a head, layers
    (1, 2, 1), (1, 7, 1), (1, 32, 2), (2, 1, 1), (3, 5, 1), (4, 3, 1), (5, 2, 1),
    (6, 3, 1), (7, 1, 1), (8, 4, 1), (9, 3, 1), (10, 1, 1), (11, 3, 1), (12, 5, 2),
]  # fmt: skip


def rows() -> list[tuple[np.ndarray, np.ndarray]]:
    generator = np.random.default_rng(0)
    return [(generator.integers(0, 64, (1, n)), np.ones((1, n), np.int64)) for n in LENGTHS]


@pytest.mark.parametrize(
    ("heads", "size", "layers", "stock"),
    [(*shape, False) for shape in SHAPES] + [(*shape, True) for shape in SHAPES[1:5]],
)
def test_passes_take_every_shape_of_encoder(heads, size, layers, stock):
    architecture = "bert" if heads % 2 else "roberta"
    spartan = SpartanConfig(parents=3, cells=6, top_k=2)
    model = tiny_model(architecture, layers=layers, hidden=heads * size, heads=heads, spartan=spartan)
    program = capture(model.module, max(LENGTHS))
    passes = [*exact_passes(stock=stock), *final_passes(stock=stock)]
    result, reports = run_passes(program, passes, rows())
    made = {report.name: report.changes for report in reports}
    assert made["fuse_memories"] == layers
    if not stock:
        assert made["fuse_attention"] == layers
    lowered = result.module()
    for ids, mask in rows():
        with torch.no_grad():
            expected = model.module(torch.from_numpy(ids), torch.from_numpy(mask))
            got = lowered(torch.from_numpy(ids), torch.from_numpy(mask))
        assert torch.isfinite(expected).all()
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-5 * max(1.0, float(expected.abs().max())))
