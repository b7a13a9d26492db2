"""canonical_order: one model is one program, in whatever order Python traces it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.export import ExportedProgram

from spartanc.compiler.capture import capture
from support.branches import Branches, traced

TESTS = Path(__file__).parent.parent
PRINT = "print('\\n'.join(node.format_node() for node in program.graph.nodes if node.op == 'call_function'))"
OF_A_SET = f"""
from spartanc.compiler.capture import capture
from support.branches import Branches, traced
module = Branches(set(Branches.NAMES))
program = traced(module)
{PRINT}
print("captured")
program = capture(module, 16)
{PRINT}
"""
WINDOWED = f"""
from spartanc.compiler.capture import capture
from support.windowed import Windowed
program = capture(Windowed(8), 16)
{PRINT}
"""

MODERNBERT = f"""
import hashlib
from spartanc.compiler.capture import capture
from spartanc.compiler.lower import lower
from support.models import tiny_model
program = capture(tiny_model("modernbert").module, 16)
{PRINT}
print(hashlib.sha256(lower(program).program).hexdigest())
"""


def operators(program: ExportedProgram) -> list[str]:
    return [node.format_node() for node in program.graph.nodes]


def test_the_order_of_tracing_does_not_show():
    forwards, backwards = Branches(Branches.NAMES), Branches(Branches.NAMES[::-1])
    assert operators(traced(forwards)) != operators(traced(backwards))
    first, second = capture(forwards, 16), capture(backwards, 16)
    assert operators(first) == operators(second)
    inputs = torch.arange(5)[None], torch.tensor([[1, 1, 1, 0, 1]])
    assert torch.equal(first.module()(*inputs), forwards(*inputs))
    assert torch.equal(second.module()(*inputs), backwards(*inputs))


def test_assertions_are_kept_and_dead_operators_dropped():
    class Asserts(nn.Module):
        def forward(self, input_ids, attention_mask):
            input_ids.float().exp()
            return (input_ids.float() + attention_mask).to(torch.float64)

    program = capture(Asserts(), 16)
    names = [str(node.target) for node in program.graph.nodes if node.op == "call_function"]
    assert "aten.exp.default" not in names
    assert names[-1] == "aten._assert_tensor_metadata.default"


def printed(script: str, seed: int) -> str:
    paths = os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONHASHSEED": str(seed), "PYTHONPATH": paths}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_processes_that_hash_strings_otherwise_capture_one_program():
    first, second = (printed(OF_A_SET, seed).split("captured\n") for seed in (0, 1))
    assert first[0] != second[0]
    assert first[1] == second[1]
    assert first[1].count("aten.tanh.default") == 3


@pytest.mark.long
@pytest.mark.parametrize(("script", "operator"), [(WINDOWED, "aten.softmax.int"), (MODERNBERT, "aten.cos.default")])
def test_an_encoder_that_walks_a_set_is_captured_as_one_program(script, operator):
    (program,) = {printed(script, seed) for seed in (0, 1, 2)}
    assert program.count(operator) == 2
