"""remove_zero_heads: attention without heads that bring nothing, or the same to every text."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from spartanc.compiler.capture import capture
from spartanc.passes.manager import run_passes
from spartanc.passes.pipelines import exact_passes
from spartanc.passes.program import constant_tensor
from spartanc.passes.remove_zero_heads import RemoveZeroHeads
from support.captured import MAX_LENGTH, assert_same_results, rows
from support.models import tiny_model

FUSED = (torch.ops.spartan.attention.default, torch.ops.spartan.attention.relative)
BEFORE = exact_passes()[:-2]  # up to the fused attention


def heads(program) -> list[int]:
    return [node.args[3] for node in program.graph.nodes if node.target in FUSED]


def weights(program) -> int:
    """Numbers in all linears."""
    linears = [node for node in program.graph.nodes if node.target is torch.ops.aten.linear.default]
    return sum(constant_tensor(program, node.args[1]).numel() for node in linears)


SCATTERED = "11 values of heads are zero, in no whole head: heads are of one size"
VALUES, OUTPUTS = (".value", ".v_lin", ".value_proj"), ("attention.output.dense", ".out_lin", "attention.dense")


def named(model, ends: tuple[str, ...]) -> list[nn.Linear]:
    return [each for name, each in model.module.network.named_modules() if name.endswith(ends)]


def fused(change, architecture: str = "bert"):
    """A classifier of two layers of four heads, its attention fused; `change` gets values and outputs by layer."""
    model = tiny_model(architecture, seed=5)
    values, outputs = (named(model, ends) for ends in (VALUES, OUTPUTS))
    assert len(values) == len(outputs) > 0
    with torch.no_grad():
        change(values, outputs)
    program, _ = run_passes(capture(model.module, MAX_LENGTH), BEFORE, rows())
    assert heads(program) == [4, 4]
    return program


def zero_first(values, outputs):
    """Heads 0 and 2 of the first layer: values of one, outputs of the other; and head 3 of the last, a constant."""
    values[0].weight[:8], values[0].bias[:8] = 0, 0
    outputs[0].weight[:, 16:24] = 0
    values[-1].weight[24:], values[-1].bias[24:] = 0, 0.7


@pytest.mark.parametrize("architecture", ["bert", "distilbert", "deberta-v2"])
def test_zero_heads_go_with_their_queries_and_keys(architecture):
    program = fused(zero_first, architecture)
    result, report = RemoveZeroHeads().run(program)
    assert (heads(result), heads(program)) == ([2, 3], [4, 4])
    assert report.notes["heads"] == 3 and [each["heads"] for each in report.notes["removed"]] == [2, 1]
    assert report.skipped == []
    assert weights(program) - weights(result) == 3 * 4 * 8 * 32  # of query, key, value and output
    assert_same_results(result, program, 1e-5)


def test_layers_that_share_their_weights_share_what_is_left():
    program = fused(lambda values, outputs: outputs[0].weight[:, 8:24].zero_(), "albert")
    result, _ = RemoveZeroHeads().run(program)
    assert heads(result) == [2, 2]
    linears = [node for node in result.graph.nodes if node.target is torch.ops.aten.linear.default]
    weights = [constant_tensor(result, node.args[1]).detach().numpy().tobytes() for node in linears]
    assert len(weights) - len(set(weights)) == 5  # of the layer that is applied twice
    assert_same_results(result, program, 1e-5)


def test_one_head_stays():
    program = fused(lambda values, outputs: outputs[0].weight.zero_())
    result, _ = RemoveZeroHeads().run(program)
    assert heads(result) == [1, 4]
    assert_same_results(result, program, 1e-5)


def test_values_in_no_whole_head_stay_and_are_named():
    program = fused(lambda values, outputs: outputs[0].weight[:, 4:15].zero_())
    result, report = RemoveZeroHeads().run(program)
    assert (heads(result), report.changes) == ([4, 4], 0)
    assert [each.reason for each in report.skipped] == [SCATTERED]
    assert_same_results(result, program, 0.0)


def test_zero_queries_are_no_zero_head():
    """Such a head gives the mean of all values, whatever it is asked."""
    model = tiny_model("bert", seed=5)
    with torch.no_grad():
        named(model, (".query",))[0].weight[:8] = 0
    program, _ = run_passes(capture(model.module, MAX_LENGTH), BEFORE, rows())
    assert heads(RemoveZeroHeads().run(program)[0]) == [4, 4]
