"""The portable form of the memory: exact, in stock operators, and one delegate call a memory."""

from __future__ import annotations

import operator
from collections import Counter

import pytest
import torch
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from executorch.exir import EdgeCompileConfig, to_edge_transform_and_lower
from torch import nn

from spartanc.passes.lower_memory_portable import NOT_CONSTANT, LowerMemoryPortable
from spartanc.passes.ops import define as definition
from spartanc.passes.portable_cells import LARGEST_LOGIT, SPLIT_CELLS
from spartanc.passes.portable_parents import RANKED_PARENTS
from support.stock_process import run_on_stock_runtime

HIDDEN = 24
MAX_LENGTH = 32


class Memories(nn.Module):
    """`layers` memories with a residual and a layer norm each, as the operator."""

    def __init__(self, parents: int, cells: int, top_k: int, temperature: float = 1.6, layers: int = 2):
        super().__init__()
        self.top_k, self.temperature = top_k, temperature
        draw = lambda *shape: nn.Parameter(torch.randn(*shape) * 0.3)  # noqa: E731
        self.parents = nn.ParameterList([draw(parents, HIDDEN) for _ in range(layers)])
        self.keys = nn.ParameterList([draw(cells, HIDDEN) for _ in range(layers)])
        self.values = nn.ParameterList([draw(cells, HIDDEN) for _ in range(layers)])
        self.norm = nn.LayerNorm(HIDDEN)

    def forward(self, x):
        for parents, keys, values in zip(self.parents, self.keys, self.values, strict=True):
            y = torch.ops.spartan.memory_lookup(x, parents, keys, values, self.top_k, self.temperature)
            x = self.norm(x + y)
        return x


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(20)
    torch.set_num_threads(1)


def export(module: nn.Module, rows: int = 1) -> torch.export.ExportedProgram:
    length = torch.export.Dim("length", min=1, max=MAX_LENGTH)
    return torch.export.export(module.eval(), (torch.randn(rows, 8, HIDDEN),), dynamic_shapes=({1: length},))


def lower(program: torch.export.ExportedProgram):
    return to_edge_transform_and_lower(
        program,
        partitioner=[XnnpackPartitioner()],
        compile_config=EdgeCompileConfig(_check_ir_validity=False),
    )


def calls(program: torch.export.ExportedProgram) -> Counter:
    nodes = (node for node in program.graph.nodes if node.op == "call_function")
    return Counter(str(node.target) for node in nodes if node.target is not operator.getitem)


SHAPES = [
    pytest.param(16, 48, 8, id="published-defaults"),
    pytest.param(16, 48, 1, id="one-parent-chosen"),
    pytest.param(16, 48, 16, id="all-parents-chosen"),
    pytest.param(8, 8, 3, id="one-cell-a-parent"),
    pytest.param(1, 5, 1, id="a-single-parent"),
    pytest.param(4, 4 * (SPLIT_CELLS + 1), 2, id="many-cells-a-parent"),
    pytest.param(RANKED_PARENTS + 1, 2 * (RANKED_PARENTS + 1), 5, id="many-parents"),
]


@pytest.mark.parametrize(("parents", "cells", "top_k"), SHAPES)
def test_rewritten_program_agrees_with_the_operator(parents, cells, top_k):
    module = Memories(parents, cells, top_k)
    program = export(module)
    assert len([n for n in program.graph.nodes if "memory_lookup" in str(n.target)]) == 2
    before = calls(program)

    pass_ = LowerMemoryPortable()
    result, report = pass_.run(program)

    assert report.changes == 2
    assert report.skipped == []
    assert pass_.holds(result) is None
    assert pass_.holds(program) is not None
    assert calls(program) == before
    for length in (1, 2, 7, MAX_LENGTH):
        x = torch.randn(1, length, HIDDEN)
        expected = module(x)
        assert expected.abs().max() > 0.1
        torch.testing.assert_close(result.module()(x), expected, rtol=0, atol=pass_.tolerance)


def test_portable_programs_run_on_the_stock_runtime(tmp_path):
    modules, programs, rows = [], [], []
    for index, shape in enumerate(SHAPES):
        module = Memories(*shape.values)
        edge = lower(LowerMemoryPortable().run(export(module))[0])
        programs.append(tmp_path / f"{index}.pte")
        programs[-1].write_bytes(edge.to_executorch().buffer)
        modules.append(module)
        rows.append([(torch.randn(1, length, HIDDEN),) for length in (1, 3, MAX_LENGTH)])
    results = run_on_stock_runtime(programs, rows, tmp_path)
    for shape, module, inputs, outputs in zip(SHAPES, modules, rows, results, strict=True):
        for (x,), got in zip(inputs, outputs, strict=True):
            torch.testing.assert_close(got, module(x), rtol=0, atol=1e-5, msg=lambda m, s=shape: f"{s.id}: {m}")


@pytest.mark.parametrize("first", ["split", "summed"])
def test_each_memory_is_delegated_whole(first):
    module = Memories(16, 48, 8, layers=3)
    program = export(module if first == "split" else normed(module))
    edge = lower(LowerMemoryPortable().run(program)[0])
    norms = 3 if first == "split" else 4
    left = calls(edge.exported_program())
    delegates = sum(count for name, count in left.items() if "call_delegate" in name)
    outside = {name: count for name, count in left.items() if "call_delegate" not in name}
    assert delegates == 3
    assert sum(outside.values()) == norms, outside
    assert all("layer_norm" in name for name in outside), outside


def normed(module: Memories, gain: float = 1.0) -> nn.Module:
    """`module` behind a LayerNorm of its own, whose weight is `gain` or so and whose bias is not 0."""
    norm = nn.LayerNorm(HIDDEN)
    with torch.no_grad():
        norm.weight.copy_(gain * (1 + 0.2 * torch.randn(HIDDEN)))
        norm.bias.normal_(std=0.1)
    return nn.Sequential(norm, module)


def forms(module: nn.Module) -> dict[str, int]:
    return LowerMemoryPortable().run(export(module))[1].notes["forms"]


def test_cells_are_summed_where_a_layer_norm_bounds_them_and_split_elsewhere():
    module = Memories(16, 48, 8)  # its second memory reads its own LayerNorm
    assert forms(module) == {"ranked, split cells": 1, "ranked, summed cells": 1}
    assert forms(normed(module)) == {"ranked, summed cells": 2}
    assert forms(normed(module, gain=1000)) == {"ranked, split cells": 1, "ranked, summed cells": 1}
    assert forms(normed(Memories(RANKED_PARENTS + 1, 2 * (RANKED_PARENTS + 1), 5))) == {"topk, split cells": 2}


def test_layer_norm_whose_weight_is_an_input_bounds_nothing():
    class Given(nn.Module):
        def __init__(self):
            super().__init__()
            self.memories = Memories(4, 12, 2, layers=1)

        def forward(self, x, weight):
            return self.memories(nn.functional.layer_norm(x, [HIDDEN], weight, None))

    program = torch.export.export(Given().eval(), (torch.randn(1, 8, HIDDEN), torch.ones(HIDDEN)))
    assert LowerMemoryPortable().run(program)[1].notes["forms"] == {"ranked, split cells": 1}


def test_summed_cells_are_exact_up_to_their_largest_logit(tmp_path):
    """The worst inputs there are: along a key, so that its logit is the bound, and the other way."""
    module = normed(Memories(4, 12, 2, layers=1))
    norm, memories = module
    with torch.no_grad():
        norm.weight.fill_(1.0)
        norm.bias.zero_()
        keys = memories.keys[0].view(4, 3, HIDDEN)
        keys -= keys.mean(1, keepdim=True)
        keys -= keys.mean(-1, keepdim=True)  # what a LayerNorm gives has mean 0
        keys *= 0.999 * LARGEST_LOGIT * memories.temperature / HIDDEN**0.5 / keys.norm(dim=-1).max()
    assert forms(module) == {"ranked, summed cells": 1}
    x = torch.cat([memories.keys[0], -memories.keys[0]])[None]
    largest = (norm(x) @ memories.keys[0].T / memories.temperature).abs().max()
    assert largest > 0.99 * LARGEST_LOGIT
    expected = module.double()(x.double()).float()
    module.float()
    result = LowerMemoryPortable().run(export(module))[0]
    torch.testing.assert_close(result.module()(x), expected, rtol=0, atol=1e-5)
    path = tmp_path / "model.pte"
    path.write_bytes(lower(result).to_executorch().buffer)
    ((got,),) = run_on_stock_runtime([path], [[(x,)]], tmp_path)
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-5)
    with torch.no_grad():
        memories.keys[0].mul_(1.01)
    assert forms(module) == {"ranked, split cells": 1}


def with_equal_parents(parents: int, top_k: int) -> Memories:
    """Four different parents only, so that logits are equal everywhere."""
    module = Memories(parents, 2 * parents, top_k, layers=1)
    with torch.no_grad():
        module.parents[0].copy_(module.parents[0][torch.randint(0, 4, (parents,))])
    return module


@pytest.mark.parametrize("parents", [16, RANKED_PARENTS + 1])
def test_equal_logits_take_the_lower_index(parents, tmp_path):
    x = torch.randn(1, MAX_LENGTH, HIDDEN)
    x[0, 0] = 0.0  # every logit is 0
    for top_k in (1, 3, 8, parents - 1):
        module = with_equal_parents(parents, top_k)
        program = LowerMemoryPortable().run(export(module))[0]
        torch.testing.assert_close(program.module()(x), module(x), rtol=0, atol=1e-5)
    path = tmp_path / "model.pte"
    path.write_bytes(lower(program).to_executorch().buffer)
    ((got,),) = run_on_stock_runtime([path], [[(x,)]], tmp_path)
    torch.testing.assert_close(got, module(x), rtol=0, atol=1e-5)


@pytest.mark.parametrize("scale", [1e-30, 1e-38, 1e15])
def test_choice_is_exact_at_extreme_logits(scale):
    """Parents whose logits differ by one step of fp32, near its ends: the choice is the definition's."""
    module = Memories(16, 48, 5, layers=1)
    with torch.no_grad():
        module.parents[0].zero_()
        base = torch.full((16,), scale)
        for _ in range(3):
            base[torch.randperm(16)[:8]] = torch.nextafter(base, torch.tensor(torch.inf))[:8]
        module.parents[0][:, 0] = base
    result = LowerMemoryPortable().run(export(module))[0].module()
    x = torch.zeros(1, 4, HIDDEN)
    x[0, :, 0] = 1.0
    torch.testing.assert_close(result(x), module(x), rtol=0, atol=1e-5)


def test_two_dynamic_dimensions_are_kept():
    module = Memories(4, 4 * (SPLIT_CELLS + 1), 2)
    sizes = ({0: torch.export.Dim("rows", min=1, max=8), 1: torch.export.Dim("length", min=1, max=MAX_LENGTH)},)
    program = torch.export.export(module.eval(), (torch.randn(2, 8, HIDDEN),), dynamic_shapes=sizes)
    result = LowerMemoryPortable().run(program)[0].module()
    x = torch.randn(5, 3, HIDDEN)
    torch.testing.assert_close(result(x), module(x), rtol=0, atol=1e-5)


def test_memory_whose_tensors_are_inputs_is_left_alone():
    class Shared(nn.Module):
        def forward(self, x, parents, keys, values):
            return torch.ops.spartan.memory_lookup(x, parents, keys, values, 2, 1.0)

    example = (
        torch.randn(1, 4, HIDDEN),
        torch.randn(4, HIDDEN),
        torch.randn(8, HIDDEN),
        torch.randn(8, HIDDEN),
    )
    result, report = LowerMemoryPortable().run(torch.export.export(Shared().eval(), example))
    assert report.changes == 0
    assert [skipped.reason for skipped in report.skipped] == [NOT_CONSTANT]
    assert "memory_lookup" in (LowerMemoryPortable().holds(result) or "")


def test_constants_that_no_memory_reads_any_more_are_dropped():
    program = export(Memories(16, 48, 8))
    held = {name for name in program.state_dict if name.startswith(("parents", "keys", "values"))}
    assert len(held) == 6
    result, _ = LowerMemoryPortable().run(program)
    assert not held & set(result.state_dict)
    assert held <= set(program.state_dict)


def test_definition_is_the_operator_that_the_pass_looks_for():
    assert definition.NAMESPACE == "spartan"
