"""The int8 linear inside a `.pte`, on the best kernel and on each plainer one, against its definition."""

import json
import os
import subprocess
import sys

import pytest
import torch
from executorch.exir import EdgeCompileConfig, to_edge
from torch import nn

from spartanc.passes.ops.linear_int8 import pack_weights
from spartanc.passes.quantize_linears import quantize_weights
from support.operators import RUNNER


class Linears(nn.Module):
    """With and without bias and GELU, of awkward and of round sizes."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(4)
        self.sizes = [(130, 33), (130, 64), (130, 1)]
        for i, (inputs, outputs) in enumerate(self.sizes):
            packed = pack_weights(*quantize_weights(torch.randn(outputs, inputs)))
            for name, tensor in packed._asdict().items():
                self.register_buffer(f"{name}_{i}", tensor)
            self.register_buffer(f"bias_{i}", torch.randn(outputs))

    def forward(self, x):
        results = []
        for i in range(len(self.sizes)):
            weights = [getattr(self, f"{name}_{i}") for name in ("blocks", "scales", "sums")]
            for bias in (None, getattr(self, f"bias_{i}")):
                results += [torch.ops.spartan.linear_int8(x, *weights, bias, gelu) for gelu in (False, True)]
        return tuple(results)


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    path = tmp_path_factory.mktemp("linear") / "model.pte"
    length = torch.export.Dim("length", min=1, max=70)
    exported = torch.export.export(Linears(), (torch.randn(1, 5, 130),), dynamic_shapes=({1: length},))
    edge = to_edge(exported, compile_config=EdgeCompileConfig(_check_ir_validity=False))
    path.write_bytes(edge.to_executorch().buffer)
    return path


def _answers(program, inputs, tmp_path, **environment):
    torch.save(inputs, tmp_path / "inputs.pt")
    command = [sys.executable, "-c", RUNNER, program, tmp_path / "inputs.pt"]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("kernel", ["best", "portable", "avx2", "avx512vnni", "no-such-kernel"])
def test_every_kernel_computes_the_definition_bit_for_bit(program, kernel, tmp_path):
    torch.manual_seed(2)
    inputs = [[torch.randn(1, length, 130)] for length in (1, 5, 16, 33, 70)]
    inputs[1][0][0, 2] = 0
    inputs[2][0][0, 3, 7] = 1e6
    inputs[3][0][0, 32] = float("nan")
    for (x,), answer in zip(inputs, _answers(program, inputs, tmp_path, SPARTANC_LINEAR_KERNEL=kernel), strict=True):
        for number, (got, expected) in enumerate(zip(map(torch.tensor, answer), Linears()(x), strict=True)):
            if number % 2:
                assert torch.allclose(got, expected, rtol=2e-6, atol=1e-6, equal_nan=True)
            else:
                assert torch.equal(got.isnan(), expected.isnan())
                assert torch.equal(got.nan_to_num(), expected.nan_to_num())


def test_more_rows_than_the_program_has_room_for_are_refused(program, tmp_path):
    refused, taken = _answers(program, [[torch.zeros(1, 71, 130)], [torch.zeros(1, 70, 130)]], tmp_path)
    assert isinstance(refused, str)
    assert len(taken) == 12
