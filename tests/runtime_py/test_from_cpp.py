"""A C++ program over a bundle's runtime/: found by CMake, compiled, run here and for an emulated board."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from spartanc.base.targets.catalogue import find_target
from spartanc.base.toolchain import AARCH64
from spartanc.runtime_py import build
from spartanc.runtime_py.build import NATIVE_SOURCES, install_library
from spartanc.runtime_py.setup_target import is_ready
from spartanc.runtime_py.task_file import write_task
from support.bundles import make_bundle, seal
from support.programs import HIDDEN, MAX_LENGTH, VOCABULARY, eager_logits

ROOT = Path(__file__).parents[2]
IDS = [3, 1, 4, 1, 5, 9]
BACKBONE = "0c" * 32
LABELS = ["no", "yes", "maybe"]


class SharedClassifier(torch.nn.Module):
    """Mean of the embeddings, times a task's own head; takes a layout as every fleet does."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.embedding_VH = torch.nn.Parameter(torch.randn(VOCABULARY, HIDDEN, generator=generator), False)

    def forward(self, input_ids, attention_mask, layout, head_CH):
        x_BLH = torch.nn.functional.embedding(input_ids, self.embedding_VH)
        weights_BL1 = attention_mask.to(x_BLH.dtype).unsqueeze(-1)
        pooled_BH = (x_BLH * weights_BL1).sum(1) / weights_BL1.sum(1)
        return pooled_BH @ head_CH.T


def fleet_bundle(folder: Path) -> dict[str, np.ndarray]:
    """A bundle of two tasks in `folder`; returns the logits of each for IDS."""
    from executorch.exir import to_edge_transform_and_lower

    module = SharedClassifier().eval()
    row = (torch.tensor([IDS]), torch.ones(1, len(IDS), dtype=torch.int64))
    layout = torch.tensor([1, 2, 1])
    heads = {"two": torch.randn(2, HIDDEN), "four": torch.randn(4, HIDDEN)}
    length, classes = torch.export.Dim("length", min=1, max=MAX_LENGTH), torch.export.Dim("classes", min=1, max=8)
    program = torch.export.export(
        module, (*row, layout, heads["four"]), dynamic_shapes=({1: length}, {1: length}, None, {0: classes})
    )
    (folder / "tasks").mkdir(parents=True)
    (folder / "model.pte").write_bytes(to_edge_transform_and_lower(program).to_executorch().buffer)
    expected, tasks = {}, {}
    for name, head in heads.items():
        expected[name] = module(*row, layout, head).numpy()[0]
        probe = {
            "input_ids": [IDS],
            "attention_mask": [[1] * len(IDS)],
            "logits": [expected[name].tolist()],
            "tolerance": 1e-4,
        }
        said = {
            "name": name,
            "backbone": BACKBONE,
            "quantization": "none",
            "problem": "classification",
            "labels": [f"{name}-{i}" for i in range(len(head))],
            "memory": {"parents": 1, "cells": 2, "top_k": 1, "temperature": 1.6, "layer_norm": "none"},
            "probe": probe,
        }
        tensors = {"m.layout": layout.numpy(), "head": head.numpy()}
        write_task(folder / "tasks" / f"{name}.safetensors", tensors, said)
        tasks[name] = {"file": f"tasks/{name}.safetensors"}
    fleet = {
        "backbone": {"digest": BACKBONE},
        "quantization": "none",
        "bounds": {"parents": [1, 1], "cells": [1, 2], "classes": [1, 8]},
        "inputs": [
            {"name": "m.layout", "dtype": "I64", "shape": [3]},
            {"name": "head", "dtype": "F32", "shape": ["classes", HIDDEN]},
        ],
        "tasks": tasks,
    }
    probe = {"input_ids": [IDS], "attention_mask": [[1] * len(IDS)]}
    seal(folder, problem="fleet", labels=[], probe=probe, fleet=fleet, max_length=MAX_LENGTH)
    return expected


def build_example(runtime: Path, folder: Path, *options: str) -> Path:
    """The example in `runtime`, built by its own CMakeLists.txt as docs/from-cpp.md says."""
    cmake = build._tool("cmake")
    configure = [
        cmake, "-S", runtime / "example", "-B", folder, "-G", "Ninja",
        f"-DCMAKE_MAKE_PROGRAM={build._tool('ninja')}", f"-DCMAKE_PREFIX_PATH={runtime}", *options,
    ]  # fmt: skip
    for command in (configure, [cmake, "--build", folder]):
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    return folder / "classify_ids"


def answer(*words: object) -> tuple[list[str], np.ndarray]:
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    labels, values = zip(*(line.split("\t") for line in done.stdout.splitlines()), strict=True)
    return list(labels), np.array(values, np.float32)


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    """(the runtime's folder, the example's program)"""
    folder = tmp_path_factory.mktemp("host")
    install_library("host", folder / "runtime")
    return folder / "runtime", build_example(folder / "runtime", folder / "build")


def test_the_example_answers_as_eager(host, tiny, tmp_path):
    path, module = tiny
    bundle = make_bundle(tmp_path / "bundle", path)
    labels, values = answer(host[1], bundle, *IDS)
    (expected,) = eager_logits(module, [(np.array([IDS]), np.ones((1, len(IDS)), np.int64))])
    assert labels == LABELS
    assert np.abs(values - expected).max() < 1e-5


def test_the_example_answers_every_task_of_a_fleet(host, tmp_path):
    expected = fleet_bundle(tmp_path / "fleet")
    for name, logits in expected.items():
        labels, values = answer(host[1], tmp_path / "fleet", "--task", name, *IDS)
        assert labels == [f"{name}-{i}" for i in range(len(logits))]
        assert np.abs(values - logits).max() < 1e-5
    moved = tmp_path / "elsewhere.safetensors"
    shutil.move(tmp_path / "fleet" / "tasks" / "two.safetensors", moved)
    fleet_bundle(tmp_path / "again")  # other heads of the same backbone
    labels, values = answer(host[1], tmp_path / "again", "--task", moved, *IDS)
    assert np.abs(values - expected["two"]).max() < 1e-5


@pytest.mark.parametrize(
    ("fields", "words", "says"),
    [
        ({"problem": "ranking"}, IDS, "`ranking`, which is unknown"),
        ({}, [*IDS] * 9, "within 1 and 24"),
        ({}, ["--task", "x", 1], "has no shared backbone"),
        ({"operators": ["spartan::none.out"]}, IDS, "needs the operator `spartan::none.out`"),
    ],
)
def test_what_is_wrong_is_said(host, tiny, tmp_path, fields, words, says):
    inputs = [{"name": name, "dtype": "int64", "shape": [1, "L"]} for name in ("input_ids", "attention_mask")]
    bundle = make_bundle(tmp_path / "bundle", tiny[0], inputs=inputs, **fields)
    done = subprocess.run(list(map(str, [host[1], bundle, *words])), capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stdout == ""
    assert says in done.stderr


def test_a_program_that_computes_something_else_is_not_used(host, tiny, tmp_path):
    bundle = make_bundle(tmp_path / "bundle", tiny[0])
    import json

    probe = json.loads((bundle / "manifest.json").read_text())["probe"]
    probe["logits"][0][1] += 0.01
    seal(bundle, probe=probe)
    done = subprocess.run([str(host[1]), str(bundle), "1", "2"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "its probe gives the logits" in done.stderr


@pytest.mark.qemu
@pytest.mark.skipif(not is_ready("rpi4"), reason="`spartanc setup rpi4` was not run")
def test_the_example_runs_on_an_emulated_board(tiny, tmp_path):
    path, module = tiny
    install_library("rpi4", tmp_path / "runtime")
    toolchain = NATIVE_SOURCES / "cmake" / AARCH64.cmake_file
    program = build_example(tmp_path / "runtime", tmp_path / "build", f"-DCMAKE_TOOLCHAIN_FILE={toolchain}")
    bundle = make_bundle(tmp_path / "bundle", path)
    emulated = [AARCH64.qemu.name, "-cpu", find_target("rpi4").qemu_cpu, "-L", AARCH64.sysroot, program]
    labels, values = answer(*emulated, bundle, *IDS)
    (expected,) = eager_logits(module, [(np.array([IDS]), np.ones((1, len(IDS)), np.int64))])
    assert labels == LABELS
    assert np.abs(values - expected).max() < 1e-5
    expected = fleet_bundle(tmp_path / "fleet")
    labels, values = answer(*emulated, tmp_path / "fleet", "--task", "two", *IDS)
    assert np.abs(values - expected["two"]).max() < 1e-5


def test_the_page_shows_the_example_that_is_compiled_here():
    page = (ROOT / "docs" / "from-cpp.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"```cpp\n(.*?)```", page, re.DOTALL)
    assert shown == (NATIVE_SOURCES / "session" / "example" / "classify_ids.cc").read_text(encoding="utf-8")


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc here")
@pytest.mark.parametrize("name", ["session.h", "bundle.h"])
def test_the_headers_are_c(tmp_path, name):
    (tmp_path / "use.c").write_text(f"#include <spartan/{name}>\nint used(void);\nint used(void) {{ return 0; }}\n")
    include = NATIVE_SOURCES / "session" / "include"
    words = ["gcc", "-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror", f"-I{include}", "-fsyntax-only"]
    subprocess.run([*words, tmp_path / "use.c"], check=True)


def test_nothing_given_is_no_crash(host, tiny, tmp_path):
    """Every function of bundle.h with null in the place of everything, in a process of its own."""
    header = (NATIVE_SOURCES / "session" / "include" / "spartan" / "bundle.h").read_text()
    functions = re.findall(r"SPARTAN_API [^;]*?(spartan_\w+)\(", header)
    assert len(functions) >= 22
    script = (
        "import ctypes, sys\n"
        "library = ctypes.CDLL(sys.argv[1])\n"
        "for name in sys.argv[2:]:\n"
        "    function = getattr(library, name)\n"
        "    function.restype = ctypes.c_int64\n"
        "    print(name, function(*[ctypes.c_void_p(None)] * 6) & 0xFF)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, host[0] / "libspartan.so", *functions], capture_output=True,
                          text=True, check=True)  # fmt: skip
    said = dict(line.split() for line in done.stdout.splitlines())
    assert {name for name, status in said.items() if status == "1"} == {
        "spartan_open_bundle", "spartan_open_task", "spartan_open_program", "spartan_check_probe", "spartan_task_tensor"
    }  # fmt: skip
