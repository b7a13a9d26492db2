"""remove_zero_units: whole zero units go without a trace in the results; all other zeros stay, and are named."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from torch import nn
from torch.export import export

from spartanc.compiler.capture import capture
from spartanc.passes.manager import run_passes
from spartanc.passes.pipelines import exact_passes
from spartanc.passes.program import constant_tensor
from spartanc.passes.remove_zero_units import WIDTH, RemoveZeroUnits
from support.captured import MAX_LENGTH, assert_same_results, rows
from support.models import tiny_model

aten = torch.ops.aten


def shapes(program) -> list[tuple[int, ...]]:
    linears = [node for node in program.graph.nodes if node.target is aten.linear.default]
    weights = [constant_tensor(program, node.args[1]) for node in linears]
    return [tuple(weight.shape) for weight in weights if weight is not None]  # a memory computes some


class Pair(nn.Module):
    """Two linears and what is between them, H = 24 wide, of 64 units; a last one that gives the logits."""

    def __init__(self, between, bias=True):
        super().__init__()
        torch.manual_seed(0)
        self.between, self.scale = between, nn.Parameter(torch.rand(64) + 0.5)
        self.first, self.gate = nn.Linear(24, 64, bias=bias), nn.Linear(24, 64, bias=bias)
        self.second, self.other = nn.Linear(64, 24, bias=bias), nn.Linear(64, 24, bias=bias)
        self.last = nn.Linear(24, 3)

    def forward(self, x):
        return self.last(self.between(self, x))


def removed(module, *, moved: float = 1e-5):
    """Shapes of the linears that are left, after checking that results are as before."""
    x = torch.randn(2, 5, 24)
    program = export(module.eval(), (x,)).run_decompositions({})
    before = shapes(program)
    result, report = RemoveZeroUnits().run(program)
    assert shapes(program) == before, "the program that came in is left alone"
    expected = module(x)
    assert expected.std() > 0.01
    assert (result.module()(x) - expected).abs().max() <= moved
    return shapes(result), report


GELU = lambda m, x: m.second(nn.functional.gelu(m.first(x)))  # noqa: E731
SIGMOID = lambda m, x: m.second(torch.sigmoid(m.first(x)) * m.scale)  # noqa: E731
GATED = lambda m, x: m.second(nn.functional.silu(m.gate(x)) * m.first(x))  # noqa: E731
TWO_READERS = lambda m, x: m.second(h := torch.relu(m.first(x))) + m.other(h)  # noqa: E731


def zero_rows(linear: nn.Linear, units, bias: float | None = 0.0):
    with torch.no_grad():
        linear.weight[units] = 0
        if bias is not None and linear.bias is not None:
            linear.bias[units] = bias


def zero_columns(linear: nn.Linear, units):
    with torch.no_grad():
        linear.weight[:, units] = 0


SOME = [0, *range(5, 27), 63]  # 24 of 64: 40 are left, 48 with those that fill blocks up


@pytest.mark.parametrize("bias", [True, False])
def test_units_of_zero_rows_go_and_zeros_fill_up_the_last_block(bias):
    module = Pair(GELU, bias)
    zero_rows(module.first, SOME)
    left, report = removed(module)
    assert left == [(48, 24), (24, 48), (3, 24)] and WIDTH == 16
    assert (report.changes, report.notes["units"]) == (1, 16)
    assert report.notes["removed"] == [{"linear": "linear_1", "units": 16, "of": 64, "left": 48}]


def test_units_of_zero_columns_go():
    module = Pair(GELU)
    zero_columns(module.second, range(32))
    assert removed(module)[0] == [(32, 24), (24, 32), (3, 24)]


@pytest.mark.parametrize("between", [GELU, SIGMOID])
@pytest.mark.parametrize("bias", [True, False])
def test_a_unit_of_a_zero_row_is_a_constant_that_the_next_bias_takes_up(between, bias):
    module = Pair(between, bias)
    zero_rows(module.first, range(20), bias=1.5)
    left, report = removed(module)
    assert left == [(48, 24), (24, 48), (3, 24)] and report.changes == 1


def test_of_a_gated_pair_one_zero_factor_is_enough_where_it_is_zero():
    module = Pair(GATED)
    zero_rows(module.gate, range(16))
    zero_rows(module.first, range(16, 32))
    zero_rows(module.first, range(32, 48), bias=2.0)  # times what the gate says of a text
    assert removed(module)[0] == [(32, 24), (32, 24), (24, 32), (3, 24)]


def test_a_unit_goes_only_if_all_that_read_it_read_zeros():
    module = Pair(TWO_READERS)
    zero_columns(module.second, range(48))
    zero_columns(module.other, range(16, 64))
    left, report = removed(module)
    assert left == [(32, 24), (24, 32), (24, 32), (3, 24)] and report.notes["units"] == 32


def test_a_whole_zero_pair_keeps_one_block():
    module = Pair(lambda m, x: x + GELU(m, x))
    zero_rows(module.first, range(64), bias=None)
    assert removed(module)[0] == [(16, 24), (24, 16), (3, 24)]


def test_a_chain_of_pairs_is_narrowed_from_both_sides():
    module = Pair(lambda m, x: m.other(torch.relu(m.middle(torch.relu(m.first(x))))))
    module.middle = nn.Linear(64, 64)
    zero_rows(module.first, range(32))
    zero_columns(module.other, range(16))
    assert removed(module)[0] == [(32, 24), (48, 32), (24, 48), (3, 24)]


@pytest.mark.parametrize(
    ("between", "reason"),
    [
        (lambda m, x: m.second((h := torch.relu(m.first(x))) / h.sum(-1, True)), "`aten.sum.dim_IntList` reads"),
        (lambda m, x: m.second(torch.softmax(m.first(x), -1)), "what it reads comes from `aten.softmax.int`"),
        (lambda m, x: m.second(torch.relu(m.first(x)) + x.repeat(1, 1, 3)[..., :64]), "comes from `aten.slice.Tensor`"),
    ],
    ids=["read by more", "not pointwise", "of something else too"],
)
def test_zeros_of_what_is_no_pair_stay_with_the_reason(between, reason):
    module = Pair(between)
    zero_columns(module.second, range(40))
    left, report = removed(module, moved=0.0)
    assert left == [(64, 24), (24, 64), (3, 24)] and report.changes == 0
    (skipped,) = report.skipped
    assert skipped.node == "linear_1" and skipped.reason.startswith("40 of 64 columns are zero: ")
    assert reason in skipped.reason


def test_the_task_s_own_linear_keeps_its_inputs():
    module = Pair(lambda m, x: torch.tanh(m.second(torch.relu(m.first(x)))))
    zero_rows(module.second, range(20))
    zero_columns(module.last, range(20))
    left, report = removed(module, moved=0.0)
    assert left[-1] == (3, 24) and report.changes == 0
    assert [each.reason for each in report.skipped] == [
        "20 of 24 rows are zero: `aten.tanh.default` reads them, not a linear alone"
    ]


def test_too_few_zero_units_for_a_block_stay_and_are_named():
    module = Pair(GELU)
    zero_rows(module.first, range(15))
    left, report = removed(module, moved=0.0)
    assert left == [(64, 24), (24, 64), (3, 24)]
    assert [each.reason for each in report.skipped] == ["15 of 64 units are zero: too few to leave fewer blocks of 16"]


def test_zeros_in_no_whole_unit_stay_and_their_share_is_said():
    module = Pair(GELU)
    with torch.no_grad():
        for linear in (module.first, module.second):  # 2:4, another two in every group
            groups = linear.weight.view(-1, 4)
            groups.scatter_(1, torch.rand_like(groups).argsort(1)[:, :2], 0)
    left, report = removed(module, moved=0.0)
    assert left == [(64, 24), (24, 64), (3, 24)] and (report.changes, report.skipped) == (0, [])
    assert report.notes["zero_share_left"] == 0.5
    assert report.notes["zeros_left"] == "50% of the linears' weights are zero, in no whole unit: they stay dense"
    assert removed(Pair(GELU))[1].notes == {"units": 0, "removed": [], "zero_share_left": 0.0}


@cache
def with_zero_units(architecture: str):
    """A captured classifier of two layers, 64 units each, 32 of them zero in the first and 48 in the second."""
    model = tiny_model(architecture, seed=3)
    pairs = [m for m in model.module.network.modules() if isinstance(m, nn.Linear) and m.out_features == 64]
    with torch.no_grad():
        for linear, units in zip(pairs, (range(0, 64, 2), range(48)), strict=False):
            zero_rows(linear, list(units), bias=0.3)
    return capture(model.module, MAX_LENGTH), len(pairs)


@pytest.mark.parametrize(
    ("architecture", "stock"), [("bert", False), ("bert", True), ("distilbert", False), ("albert", False)]
)
def test_encoders_lose_their_zero_units_in_every_pipeline(architecture, stock):
    program, count = with_zero_units(architecture)
    result, reports = run_passes(program, exact_passes(stock=stock), rows())
    assert reports[-1].name == "remove_zero_units" and reports[-1].changes == 2
    assert reports[-1].notes["units"] == (32 + 48 if count == 2 else 32 + 32)
    assert 64 in {inputs for _, inputs in shapes(program)}
    assert 64 not in {inputs for _, inputs in shapes(result)}
    assert_same_results(result, program, 1e-5)
