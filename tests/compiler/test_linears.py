"""Which kernels int8 linears are compiled for, and that programs with ours agree with eager wherever they run."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from spartanc.base.schemes.catalogue import find_scheme
from spartanc.base.targets.catalogue import find_target
from spartanc.compiler.backends.catalogue import choose_backend
from spartanc.compiler.pipeline import CompileRequest, compile_model
from spartanc.models.checkpoint import save_model
from support.fleets import save_tasks, tiny_tasks
from support.models import tiny_model


@pytest.fixture
def host_with_tiles(monkeypatch):
    """This machine, as if it had tile registers: the kernels fall back where it has none."""
    target = replace(find_target("host"), linears="spartan")
    monkeypatch.setattr("spartanc.compiler.request.find_target", lambda name: target)
    return target


@pytest.mark.parametrize(
    ("quantization", "lowering", "linears", "kernels"),
    [
        ("none", "fused", "spartan", "xnnpack"),
        ("int8", "fused", "spartan", "spartan"),
        ("int4-memories", "fused", "spartan", "spartan"),
        ("int4", "fused", "spartan", "xnnpack"),
        ("int8", "portable", "spartan", "xnnpack"),
        ("int8", "fused", "xnnpack", "xnnpack"),
    ],
)
def test_the_choice_and_its_reason(quantization, lowering, linears, kernels):
    target = replace(find_target("rpi4"), linears=linears)
    choice = choose_backend(target, find_scheme(quantization), lowering)
    assert (choice.backend.kernels, choice.backend.lowering) == (kernels, lowering)
    assert choice.reason


def test_boards_take_our_linears_and_say_why():
    for name in ("rpi3", "rpi4", "rpi5"):
        choice = choose_backend(find_target(name), find_scheme("int8"), None)
        assert choice.backend.kernels == "spartan"
        assert choice.reason == find_target(name).linears_reason
    android = choose_backend(find_target("android-arm64"), find_scheme("int8"), "portable")
    assert android.backend.kernels == "xnnpack"


@pytest.mark.parametrize("quantize", ["int8", "int4-memories"])
def test_a_program_of_our_linears_agrees_with_eager_on_every_kernel(quantize, host_with_tiles, tmp_path):
    # Of seed 1 no row is within the noise of 4 bits: the two best classes are 0.09 apart or more, of seed 0 0.01.
    model, file = tiny_model("bert", seed=1), tmp_path / "model.pt"
    save_model(model, file)
    request = CompileRequest((file,), "host", tmp_path / "bundle", quantize=quantize, max_length=24)
    made = compile_model(request).as_json()
    assert made["linears"]["kernels"] == "spartan"
    taken = next(each for each in made["passes"] if each["name"] == "quantize_linears")
    assert taken["changes"] == made["fallback_ops"]["spartan::linear_int8"] > 0
    assert made["parity"]["label_agreement"] >= 0.99

    ids = torch.randint(5, 40, (8, 20), generator=torch.Generator().manual_seed(0))
    rows = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    with torch.inference_mode():
        save_file(rows | {"logits": model.module(*rows.values())}, tmp_path / "expected.safetensors")
    command = [sys.executable, "-m", "spartanc", "verify", tmp_path / "bundle", "--json"]
    for kernel in ("portable", "avx2", "avx512vnni"):
        done = subprocess.run(
            [*command, "--expected", tmp_path / "expected.safetensors"],
            capture_output=True,
            text=True,
            env=os.environ | {"SPARTANC_LINEAR_KERNEL": kernel},
        )
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["label_agreement"] >= 0.99


def test_a_fleet_of_our_linears_agrees_with_eager(host_with_tiles, tmp_path):
    paths = save_tasks(tiny_tasks("bert"), tmp_path)
    request = CompileRequest(
        (paths["three"], paths["pair"]),
        "host",
        tmp_path / "fleet",
        quantize="int8",
        max_length=24,
        shared_backbone=True,
    )
    made = compile_model(request).as_json()
    assert made["linears"]["kernels"] == "spartan"
    assert made["fallback_ops"]["spartan::linear_int8"] > 0
    assert made["parity"]["label_agreement"] >= 0.99
    reasons = [skipped["reason"] for each in made["passes"] for skipped in each["skipped"]]
    assert any("logits" in reason for reason in reasons)
