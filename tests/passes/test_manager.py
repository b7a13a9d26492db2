"""The runner believes no pass: order, promises and numerics are checked."""

import numpy as np
import pytest
import torch
from torch import nn

from spartanc.errors import CompileError
from spartanc.passes import exact_passes, final_passes
from spartanc.passes.manager import check_order, run_passes
from spartanc.passes.program import copy_program, finish
from spartanc.passes.protocol import GraphPass, PassReport


class Scale(GraphPass):
    """Multiplies every product's result by `factor`: a pass that is wrong on purpose."""

    name = "scale"
    provides = frozenset({"scaled"})

    def __init__(self, factor=1.0, tolerance=0.0, kept=True):
        self.factor, self.tolerance, self.kept = factor, tolerance, kept

    def run(self, program):
        program = copy_program(program)
        (linear,) = [node for node in program.graph.nodes if node.target is torch.ops.aten.linear.default]
        with program.graph.inserting_after(linear):
            scaled = program.graph.call_function(torch.ops.aten.mul.Tensor, (linear, self.factor))
        scaled.meta.update(linear.meta)
        linear.replace_all_uses_with(scaled, delete_user_cb=lambda user: user is not scaled)
        return finish(program), PassReport(self.name, changes=1)

    def holds(self, program):
        return None if self.kept else "`linear` was not scaled"


class Needy(Scale):
    name = "needy"
    requires = frozenset({"moonlight"})


class Breaker(Scale):
    name = "breaker"
    provides = frozenset()
    breaks = frozenset({"scaled"})


@pytest.fixture
def program():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(4, 4)).eval()
    return torch.export.export(module, (torch.ones(1, 4),)).run_decompositions({})


ROWS = [(np.arange(4, dtype=np.float32)[None],)]


def test_the_pipelines_are_in_an_order_that_holds():
    for lowering in ("fused", "portable"):
        for quantization in ("none", "int8", *(() if lowering == "portable" else ("int4",))):
            held = check_order(exact_passes())
            assert "memories_fused" in held
            check_order(final_passes(lowering, quantization), held)


def test_an_order_that_lacks_something_names_the_pass_and_what_it_lacks():
    with pytest.raises(CompileError, match=r"`needy` needs `moonlight`"):
        check_order([Scale(), Needy()])
    assert check_order([Scale(), Breaker()]) == frozenset()


def test_a_pass_that_moves_the_result_is_stopped(program):
    run_passes(program, [Scale(1.0)], ROWS)
    with pytest.raises(CompileError, match="moved the result of input 1"):
        run_passes(program, [Scale(1.01, tolerance=1e-5)], ROWS)


def test_tolerance_grows_with_results_above_one(program):
    large = [(np.full((1, 4), 1e6, np.float32),)]
    run_passes(program, [Scale(1 + 1e-6, tolerance=1e-5)], large)
    with pytest.raises(CompileError, match="may move it by"):
        run_passes(program, [Scale(1 + 1e-4, tolerance=1e-5)], large)


def test_a_result_that_is_no_number_is_stopped(program):
    with pytest.raises(CompileError, match="moved the result"):
        run_passes(program, [Scale(float("nan"), tolerance=1e-5)], ROWS)


def test_a_broken_promise_is_named(program):
    with pytest.raises(CompileError, match=r"`scaled` does not hold: `linear` was not scaled"):
        run_passes(program, [Scale(kept=False)], ROWS)
