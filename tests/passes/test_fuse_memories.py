"""fuse_memories: every honest spelling of the memory is found, every near miss is left alone with its reason."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.export import Dim, ExportedProgram, export

from spartanc.passes import fuse_memories
from support import memory_forms as forms

LOOKUP = torch.ops.spartan.memory_lookup.default
PUBLISHED = [forms.PublishedDense, forms.PublishedGather, forms.ScatteredWeights]
SHAPES = [
    pytest.param({}, id="default"),
    pytest.param({"K": 1}, id="one-chosen"),
    pytest.param({"K": 8}, id="all-chosen"),
    pytest.param({"M": 8}, id="one-child"),
    pytest.param({"E": 1, "M": 5, "K": 1}, id="one-parent"),
]


def exported(model: nn.Module, x: torch.Tensor, dynamic: bool = False) -> ExportedProgram:
    shapes = ({1: Dim("length", min=1, max=64)},) if dynamic else None
    with torch.no_grad():
        return export(model, (x,), dynamic_shapes=shapes)


def lookups(program: ExportedProgram) -> int:
    return sum(node.target is LOOKUP for node in program.graph.nodes)


def assert_close(got: torch.Tensor, expected: torch.Tensor, tolerance: float = 1e-5) -> None:
    assert expected.numel() and torch.isfinite(expected).all() and expected.abs().max() > 0
    torch.testing.assert_close(got, expected, rtol=tolerance, atol=tolerance * float(expected.abs().max()))


def assert_fused(model: nn.Module, x: torch.Tensor, sites: int = 1, dynamic: bool = False) -> ExportedProgram:
    program = exported(model, x, dynamic)
    before = str(program.graph)
    assert lookups(program) == 0
    fused, report = fuse_memories(program)
    assert (report.fused, report.skipped) == (sites, [])
    assert lookups(fused) == sites
    assert str(program.graph) == before, "the input program was changed"
    with torch.no_grad():
        assert_close(fused.module()(x), model(x))
        if dynamic:
            for length in (1, 2, 7):
                other = torch.randn(x.shape[0], length, x.shape[2], generator=torch.Generator().manual_seed(length))
                assert_close(fused.module()(other), model(other))
    return fused


def example(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("form", PUBLISHED, ids=lambda f: f.__name__)
def test_published_forms_are_fused(form, shape, dynamic):
    assert_fused(form(**shape), example(2, 5, 16), dynamic=dynamic)
