"""Zeros that a model brings, from its file to its bundle: whole units go, others are named, cells are packed."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import nn

import spartanc
from spartanc.compiler.pipeline import CompileRequest, compile_model
from spartanc.compiler.present import zeros
from spartanc.models.checkpoint import save_model
from spartanc.runtime_py.task_file import open_task, write_task
from support.models import tiny_model

UNITS = 64  # of every feed-forward layer


def without_units(model) -> None:
    """48 of 64 units are zero."""
    for linear in model.module.network.modules():
        if isinstance(linear, nn.Linear) and linear.out_features == UNITS:
            linear.weight[:48], linear.bias[:48] = 0, 0


def two_of_four(model) -> None:
    for name, linear in model.module.network.named_modules():
        if isinstance(linear, nn.Linear) and ".layer." in name:
            groups = linear.weight.view(-1, 4)
            groups.scatter_(1, groups.abs().argsort(1)[:, :2], 0)


def sparse_memories(model) -> None:
    for memory in model.module.memories():
        for tensor in (memory.keys, memory.values):
            tensor[torch.rand_like(tensor) < 0.5] = 0


def compiled(folder, change, **options):
    torch.manual_seed(0)
    model = tiny_model()
    with torch.no_grad():
        change(model)
    folder.mkdir()
    save_model(model, folder / "task.pt")
    common = {"target": "host", "max_length": 24, "quantize": "int8"}
    request = CompileRequest(models=(folder / "task.pt",), out=folder / "bundle", **(common | options))
    return compile_model(request).as_json()


def weight_bytes(result) -> int:
    """Of the linears that the program computes, in fp32."""
    return sum(row["weight_bytes"] for row in result["costs"] if "linear" in row["op"])


def test_zero_units_make_a_program_smaller_by_what_was_removed(tmp_path):
    dense = compiled(tmp_path / "dense", lambda model: None, quantize="none")
    narrow = compiled(tmp_path / "narrow", without_units, quantize="none")
    assert narrow["parity"]["label_agreement"] == dense["parity"]["label_agreement"] == 1
    removed = 2 * 48 * (2 * 32 + 1) * 4  # of two layers: a row with its bias, a column
    assert weight_bytes(dense) - weight_bytes(narrow) == removed
    assert removed * 0.9 < dense["files"]["model.pte"] - narrow["files"]["model.pte"] < removed * 1.1
    assert zeros(narrow["passes"]) == ["96 of 128 units in 2 layers removed"]
    assert zeros(dense["passes"]) == []


@pytest.mark.long
def test_zeros_in_no_unit_change_nothing_and_are_named(tmp_path):
    result = compiled(tmp_path / "two4", two_of_four, quantize="none")
    assert result["parity"]["label_agreement"] == 1
    (said,) = zeros(result["passes"])
    assert said.endswith("% of the linears' weights are zero, in no whole unit: they stay dense")


def test_a_fleet_loses_its_units_and_answers_with_sparse_cells_to_the_bit_as_with_their_zeros(tmp_path, monkeypatch):
    def both(model) -> None:
        without_units(model)
        sparse_memories(model)

    result = compiled(tmp_path / "fleet", both, shared_backbone=True)
    assert zeros(result["passes"])[0] == "96 of 128 units in 2 layers removed"
    bundle = tmp_path / "fleet" / "bundle"
    path = bundle / "tasks" / "task.safetensors"
    task = open_task(path)
    cells = [name for name, tensor in task.tensors.items() if name.endswith(("key_cells", "value_cells"))]
    data = path.read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    said = json.loads(header["__metadata__"]["task"])
    assert len(cells) == 4 and sorted(said["sparse"]) == sorted(cells)
    for name in cells:
        begin, end = header[name]["data_offsets"]
        assert end - begin <= 0.65 * task.tensors[name].nbytes + 64

    dense = tmp_path / "dense.safetensors"
    monkeypatch.setattr("spartanc.runtime_py.task_file.without_zeros", lambda tensor: None)
    write_task(dense, task.tensors, {key: value for key, value in said.items() if key != "sparse"})
    assert b'"format_version":"1"' in dense.read_bytes() and b'"format_version":"2"' in path.read_bytes()
    ids = np.array([[2, 9, 8, 7, 6, 3]])
    with spartanc.load(bundle) as model:
        answers = [model.logits(ids, np.ones_like(ids), task=each) for each in ("task", str(dense))]
    assert np.array_equal(*answers) and answers[0].std() > 0
