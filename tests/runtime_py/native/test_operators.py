"""Every overload of the memory lookup inside a `.pte`, run by ExecuTorch's Python runtime in a process of its own."""

import json
import subprocess
import sys

import pytest
import torch
from executorch.exir import EdgeCompileConfig, to_edge

from spartanc.passes.ops.packing import pack_int4, pack_int8, pack_memory
from support.operators import RUNNER

HIDDEN, PARENTS, CELLS, TOP_K, TEMPERATURE = 96, 6, 18, 4, 1.6


class EveryForm(torch.nn.Module):
    """All overloads in both layouts on one memory, which is constant, with residual and LayerNorm."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(5)
        parents, keys, values = (torch.randn(n, HIDDEN) * 0.3 for n in (PARENTS, CELLS, CELLS))
        self.rows = (parents, keys, values)
        self.norm = torch.nn.LayerNorm(HIDDEN)
        torch.nn.init.normal_(self.norm.weight)
        int8 = [(t.div(scale := t.abs().amax(1, keepdim=True) / 127).round(), scale) for t in (keys, values)]
        groups = [t.unflatten(1, (-1, 32)) for t in (keys, values)]
        int4 = [
            ((g / (scale := g.abs().amax(2, keepdim=True) / 7)).round().flatten(1), scale.squeeze(2)) for g in groups
        ]
        self.calls = []
        for pack_keys in (True, False):
            shared = {"top_k": TOP_K, "temperature": TEMPERATURE, "pack_keys": pack_keys}
            self.calls += [
                ("packed", pack_memory(parents, keys, values, **shared)),
                ("int8", pack_int8(parents, *int8[0], *int8[1], **shared)),
                ("int4", pack_int4(parents, *int4[0], *int4[1], **shared)),
            ]
        for i, (_, memory) in enumerate(self.calls):
            for name, tensor in memory._asdict().items():
                if tensor is not None:
                    self.register_buffer(f"{name}_{i}", tensor)

    def forward(self, x):
        operator = torch.ops.spartan.memory_lookup
        results = [operator(x, *self.rows, TOP_K, TEMPERATURE)]
        for i, (overload, memory) in enumerate(self.calls):
            tensors = [getattr(self, f"{name}_{i}", None) for name in memory._fields]
            tensors += [32] if overload == "int4" else []
            for norm in ((None, None), (self.norm.weight, self.norm.bias)):
                results.append(getattr(operator, overload)(x, *tensors, *norm, 1e-5, True))
        return tuple(results)


class GivenMemory(torch.nn.Module):
    """A program that serves memories of several shapes: they come in as inputs."""

    def forward(self, x, layout, weights, keys, values):
        return torch.ops.spartan.memory_lookup.packed(x, layout, weights, keys, values, None, None, 1e-5, False)


def run(program, batches, directory) -> list:
    edge = to_edge(program, compile_config=EdgeCompileConfig(_check_ir_validity=False))
    (directory / "model.pte").write_bytes(edge.to_executorch().buffer)
    torch.save(batches, directory / "inputs.pt")
    done = subprocess.run(
        [sys.executable, "-c", RUNNER, directory / "model.pte", directory / "inputs.pt"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def assert_agrees(got, expected):
    """A float on a half before it becomes an integer may be rounded either way: one step of one weight."""
    difference = (got - expected).abs()
    assert (difference < 2e-5).double().mean() > 0.97
    assert difference.max() < 0.05


def test_every_overload_agrees_with_eager_at_every_length(tmp_path):
    module = EveryForm().eval()
    length = torch.export.Dim("length", min=1, max=64)
    with torch.no_grad():
        program = torch.export.export(module, (torch.randn(1, 8, HIDDEN),), dynamic_shapes=({1: length},))
        inputs = [torch.randn(1, n, HIDDEN) for n in (1, 2, 13, 64)]
        expected = [module(x) for x in inputs]
    targets = [n.target for n in program.graph.nodes if "memory_lookup" in str(n.target)]
    assert len(targets) == 13
    for outputs, answer in zip(expected, run(program, [[x] for x in inputs], tmp_path), strict=True):
        assert not isinstance(answer, str), answer
        for output, got in zip(outputs, answer, strict=True):
            assert output.abs().max() > 0.05
            assert_agrees(torch.tensor(got), output)


def test_wrong_dimensions_fail_the_call_and_not_the_process(tmp_path):
    def memory(parents, cells, top_k):
        torch.manual_seed(cells)
        packed = pack_memory(*(torch.randn(n, HIDDEN) for n in (parents, cells, cells)), top_k, 1.6, pack_keys=False)
        return list(packed)

    x, good = torch.randn(1, 5, HIDDEN), memory(6, 18, 4)
    cells, blocks = torch.export.Dim("cells", min=2, max=64), torch.export.Dim("blocks", min=1, max=4)
    shapes = (None, None, {0: blocks}, {0: cells}, {0: cells})
    example = memory(20, 40, 3)
    program = torch.export.export(GivenMemory(), (x, *example), dynamic_shapes=shapes)
    other = memory(20, 40, 20)

    def with_layout(*numbers):
        return [torch.tensor(numbers), *good[1:]]

    wrong = [
        with_layout(6, 18, 7),  # more parents chosen than there are
        with_layout(6, 18, 0),
        with_layout(0, 18, 1),
        with_layout(-6, 18, 4),
        with_layout(6, 17, 4),  # not a multiple
        with_layout(6, 24, 4),  # more cells than are there
        with_layout(20, 20, 4),  # more parents than are there
        with_layout(2**40, 2**41, 4),
        [*good[:3], other[3]],  # values of another memory
    ]
    answers = run(program, [[x, *m] for m in (good, other, *wrong)], tmp_path)
    for m, answer in zip((good, other), answers, strict=False):
        expected = GivenMemory()(x, *m)
        torch.testing.assert_close(torch.tensor(answer[0]), expected, rtol=0, atol=1e-4)
    for m, answer in zip(wrong, answers[2:], strict=True):
        assert isinstance(answer, str), f"layout {m[0].tolist()} was accepted"


@pytest.mark.parametrize("length", [1, 50])
def test_nan_in_one_position_stays_there(tmp_path, length):
    module = EveryForm().eval()
    x = torch.randn(1, length, HIDDEN)
    with torch.no_grad():
        program = torch.export.export(module, (x,))
    poisoned = x.clone()
    poisoned[0, 0, 3] = float("nan")
    clean, dirty = run(program, [[x], [poisoned]], tmp_path)
    for before, after in zip(clean, dirty, strict=True):
        assert torch.tensor(after)[0, 0].isnan().all()
        assert torch.equal(torch.tensor(after)[0, 1:], torch.tensor(before)[0, 1:])
