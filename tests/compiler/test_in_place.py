"""Results that are written over what they were made of: only where nothing reads that any more."""

from __future__ import annotations

import pytest
import torch
from executorch.exir import EdgeCompileConfig, ExecutorchBackendConfig, to_edge_transform_and_lower

import spartanc.passes.ops.layer_norm  # noqa: F401  (defines the operator)
from spartanc.compiler.in_place import InPlacePlanning

HIDDEN = 16


class WithNorm(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("weight", torch.ones(HIDDEN))

    def norm(self, x, residual=None):
        return torch.ops.spartan.add_layer_norm(x, residual, self.weight, None, 1e-5)


class Chain(WithNorm):
    def forward(self, x):
        return self.norm(self.norm(x.exp()))


class ReadLater(WithNorm):
    def forward(self, x):
        y = x.exp()
        return self.norm(y) + y


class OverTheResidual(WithNorm):
    def forward(self, x):
        y, residual = x.exp(), x.sin()
        return self.norm(y, residual) * y


class OfAnInput(WithNorm):
    def forward(self, x):
        return self.norm(x)


def planned(module: torch.nn.Module) -> list[torch.fx.Node]:
    """Every operator with a result in memory, in the order of execution."""
    with torch.no_grad():
        program = torch.export.export(module.eval(), (torch.randn(3, HIDDEN),))
    edge = to_edge_transform_and_lower(program, compile_config=EdgeCompileConfig(_check_ir_validity=False))
    config = ExecutorchBackendConfig(memory_planning_pass=InPlacePlanning(alloc_graph_input=True))
    return [node for node in edge.to_executorch(config).exported_program().graph.nodes if "out" in node.kwargs]


def offsets(module: torch.nn.Module) -> list[int]:
    return [node.meta["spec"].mem_offset for node in planned(module)]


def test_a_chain_has_one_place():
    first, second, third = offsets(Chain())
    assert first == second == third


def test_what_is_read_later_is_kept():
    y, normal, _ = offsets(ReadLater())
    assert normal != y


def test_the_other_argument_serves_where_the_first_is_read_later():
    y, residual, normal, _ = offsets(OverTheResidual())
    assert normal == residual != y


def test_the_callers_input_is_never_written():
    (node,) = planned(OfAnInput())
    assert node.meta["spec"].storage_base is None


@pytest.mark.parametrize("module", [Chain(), ReadLater(), OverTheResidual()], ids=lambda m: type(m).__name__)
def test_every_offset_lies_on_a_cache_line(module):
    assert all(offset % 64 == 0 for offset in offsets(module))
