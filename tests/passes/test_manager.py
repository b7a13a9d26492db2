"""The runner believes no pass: order, promises and numerics are checked."""

import numpy as np
import pytest
import torch
from torch import nn

from spartanc.base.schemes.catalogue import SCHEMES
from spartanc.errors import CompileError
from spartanc.passes.manager import check_order, run_passes
from spartanc.passes.pipelines import exact_passes, final_passes, rest_passes, task_passes
from spartanc.passes.program import copy_program, finish
from spartanc.passes.properties import PassProperty, Property
from spartanc.passes.protocol import GraphPass, PassReport
from spartanc.passes.quantize_linears import QuantizeLinears
from spartanc.passes.quantize_linears_int4 import QuantizeLinearsInt4
from spartanc.passes.schemes.catalogue import passes_of


class Own(PassProperty):
    SCALED = "scaled"
    MOONLIGHT = "moonlight"


class Scale(GraphPass):
    """Multiplies every product's result by `factor`: a pass that is wrong on purpose."""

    name = "scale"
    provides = frozenset({Own.SCALED})

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
    requires = frozenset({Own.MOONLIGHT})


class Breaker(Scale):
    name = "breaker"
    provides = frozenset()
    breaks = frozenset({Own.SCALED})


@pytest.fixture
def program():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(4, 4)).eval()
    return torch.export.export(module, (torch.ones(1, 4),)).run_decompositions({})


ROWS = [(np.arange(4, dtype=np.float32)[None],)]


def test_the_pipelines_are_in_an_order_that_holds():
    for stock in (False, True):
        for scheme in SCHEMES.values():
            held = check_order(exact_passes(stock=stock))
            assert Property.MEMORIES_FUSED in held
            single = check_order(final_passes(passes_of(scheme), stock=stock), held)
            assert (Property.MEMORIES_FUSED in single) == (not stock)
            shared = check_order(task_passes(passes_of(scheme), [], stock=stock), held)
            check_order(rest_passes(passes_of(scheme), stock=stock), shared)


def test_an_order_that_lacks_something_names_the_pass_and_what_it_lacks():
    with pytest.raises(CompileError, match=r"`needy` needs `moonlight`"):
        check_order([Scale(), Needy()])
    assert check_order([Scale(), Breaker()]) == {}


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


class Spoiler(Breaker):
    """Undoes what another pass provided, and does not say so."""

    name = "spoiler"
    breaks = frozenset()


class Keeper(Scale):
    """Finds its work undone once there is a second factor."""

    def holds(self, program):
        factors = sum(node.target is torch.ops.aten.mul.Tensor for node in program.graph.nodes)
        return None if factors == 1 else f"{factors} factors"


def test_what_was_given_is_checked_again_after_every_pass(program):
    keeper = Keeper()
    program, _ = run_passes(program, [keeper], ROWS)
    with pytest.raises(CompileError, match=r"after pass `spoiler`, `scaled` does not hold: 2 factors"):
        run_passes(program, [Spoiler()], ROWS, given=check_order([keeper]))
    run_passes(program, [Breaker()], ROWS, given=check_order([keeper]))  # says that it breaks it


@pytest.mark.parametrize("field", ["requires", "provides", "breaks"])
@pytest.mark.parametrize("wrong", [frozenset({"fused_memories"}), {Own.SCALED}, frozenset({"memories_fused"})])
def test_a_name_that_is_no_property_fails_where_the_pass_is_written(field, wrong):
    with pytest.raises(TypeError, match=field):
        type("Misspelt", (GraphPass,), {field: wrong})
    with pytest.raises(AttributeError):
        _ = Property.FUSED_MEMORIES


def test_every_property_that_a_pass_needs_or_breaks_is_provided_by_another():
    passes = {each for stock in (False, True) for scheme in SCHEMES.values() for each in all_passes(scheme, stock)}
    provided = frozenset().union(*(each.provides for each in passes))
    assert len(provided) == len(Property)
    for each in passes:
        assert each.requires | each.breaks <= provided, each.name


def all_passes(scheme, stock):
    passes = passes_of(scheme)
    linears = [QuantizeLinears(), QuantizeLinearsInt4()]
    yield from exact_passes(stock=stock)
    yield from task_passes(passes, [], stock=stock)
    yield from final_passes(passes, stock=stock, linears=linears)


@pytest.mark.parametrize("size", [1e-5, 1.0, 7e4])
def test_a_pass_is_held_to_the_scale_of_what_it_changes(program, size):
    """A scale of 1e-5 is judged as strictly as one of 1."""
    with torch.no_grad():
        program.state_dict["0.weight"].fill_(0.25 * size)
        program.state_dict["0.bias"].zero_()
    run_passes(program, [Scale(factor=1 + 1e-6, tolerance=1e-5)], ROWS, scale=size)
    with pytest.raises(CompileError, match="moved the result"):
        run_passes(program, [Scale(factor=1 + 1e-4, tolerance=1e-5)], ROWS, scale=size)
