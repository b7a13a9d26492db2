"""LayerNorm of rows that float32 makes difficult, by every kernel and by ExecuTorch's own, against float64.

A level row gives exactly the bias; of every other kind, no kernel's worst result is more than twice as far off as the
worst of ExecuTorch's `native_layer_norm` on the same rows.
"""

from __future__ import annotations

import platform
import subprocess

import numpy as np
import pytest
import torch
from executorch.exir import EdgeCompileConfig, to_edge

from support.kernels import EMULATOR, SYSROOT, needs_arm, needs_compiler
from support.operators import run_program

WIDTHS = (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 48, 63, 64, 65, 100, 127, 129, 255, 312, 384, 768, 1024)
ROWS = 400  # of each width and kind: 10,000 of each kind
EPS = 1e-12
KINDS = ("level", "nearly level", "large mean", "outlier")


def draw(kind: str, width: int, random: np.random.Generator) -> np.ndarray:
    """Rows [ROWS, width] in float32."""
    level = random.normal(0, 200, (ROWS, 1))
    noise = random.normal(0, 1, (ROWS, width))
    if kind == "level":
        rows = np.broadcast_to(level, noise.shape)
    elif kind == "nearly level":
        rows = level.astype(np.float32) * (1 + random.integers(0, 4, noise.shape) * np.float32(2**-23))
    elif kind == "large mean":
        rows = 1000 + 0.01 * noise
    else:
        rows = noise.copy()
        rows[np.arange(ROWS), random.integers(0, width, ROWS)] = random.normal(0, 1e4, ROWS)
    return np.ascontiguousarray(rows, np.float32)


def in_float64(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    x = x.astype(np.float64)
    centred = x - x[:, :1]  # first: a mean of equal numbers is not that number in float64 either
    centred -= centred.mean(1, keepdims=True)
    return centred / np.sqrt(np.square(centred).mean(1, keepdims=True) + EPS) * weight + bias


class LayerNorms(torch.nn.Module):
    """One LayerNorm for each width."""

    def __init__(self, random: np.random.Generator):
        super().__init__()
        self.norms = torch.nn.ModuleList(torch.nn.LayerNorm(width, eps=EPS) for width in WIDTHS)
        with torch.no_grad():
            for norm in self.norms:
                for parameter in norm.parameters():
                    parameter.copy_(torch.from_numpy(random.normal(0, 1, parameter.shape)))

    def forward(self, *rows):
        return tuple(norm(x) for norm, x in zip(self.norms, rows, strict=True))


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    """For each width: x [4 * ROWS, width] by kind, weight, bias, float64's result and ExecuTorch's."""
    random = np.random.default_rng(16)
    module = LayerNorms(random).eval()
    rows = [np.concatenate([draw(kind, width, random) for kind in KINDS]) for width in WIDTHS]
    inputs = tuple(map(torch.from_numpy, rows))
    edge = to_edge(torch.export.export(module, inputs), compile_config=EdgeCompileConfig(_check_ir_validity=False))
    program = edge.to_executorch()
    operators = {o.name for o in program.executorch_program.execution_plan[0].operators}
    assert operators == {"aten::native_layer_norm"}
    theirs = run_program(program.buffer, inputs, tmp_path_factory.mktemp("layer-norm"))
    parameters = [(n.weight.detach().numpy(), n.bias.detach().numpy()) for n in module.norms]
    return [
        (x, weight, bias, in_float64(x, weight, bias), their.numpy())
        for x, (weight, bias), their in zip(rows, parameters, theirs, strict=True)
    ]


def worst(kind: str, results: list[np.ndarray], cases) -> float:
    """The largest error of all rows of one kind."""
    part = slice(KINDS.index(kind) * ROWS, (KINDS.index(kind) + 1) * ROWS)
    return max(float(np.abs(got[part] - case[3][part]).max()) for got, case in zip(results, cases, strict=True))


def run_kernel(command: list, isa: str, case) -> np.ndarray:
    x, weight, bias = case[:3]
    numbers = b"".join(each.tobytes() for each in (x, weight, bias))
    done = subprocess.run(
        [*command, isa, str(len(x)), str(x.shape[1]), str(EPS)], input=numbers, capture_output=True, check=True
    )
    return np.frombuffer(done.stdout, np.float32).reshape(x.shape)


def check(command: list, isa: str, cases) -> None:
    results = [run_kernel(command, isa, case) for case in cases]
    for got, (_, _, bias, _, _) in zip(results, cases, strict=True):
        level = got[:ROWS]
        assert (level == np.broadcast_to(bias, level.shape)).all()
    for kind in KINDS[1:]:
        ours, theirs = worst(kind, results, cases), worst(kind, [case[4] for case in cases], cases)
        assert theirs > 0
        assert ours <= 2 * theirs, f"{isa}, {kind}: {ours:.3g} off, ExecuTorch {theirs:.3g}"


@needs_compiler
@pytest.mark.parametrize("isa", ["portable", "avx2", "avx512"])
def test_no_row_is_worse_than_executorchs_on_this_machine(isa, cases, host_kernels):
    # One row of one number, its weight and its bias: of no row no kernel is asked for.
    present = subprocess.run(
        [host_kernels / "layer_norm_rows", isa, "1", "1", "1"], input=bytes(12), stdout=subprocess.PIPE
    )
    if present.returncode == 3:
        pytest.skip(f"this {platform.machine()} processor has no {isa}")
    check([host_kernels / "layer_norm_rows"], isa, cases)


@needs_arm
@pytest.mark.parametrize("isa", ["portable", "neon"])
def test_no_row_is_worse_than_executorchs_on_arm(isa, cases, arm_kernels):
    check([EMULATOR, "-cpu", "cortex-a72", "-L", SYSROOT, arm_kernels / "layer_norm_rows"], isa, cases)
