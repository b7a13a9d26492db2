"""Fleets: several tasks over one backbone, as one program and a small file for each task.

    model.pte                     the program; takes the tensors of a task after ids and mask
    tokenizer.json
    tasks/NAME.safetensors        a task: see `spartanc.runtime_py.task_file`
    manifest.json                 a bundle's manifest, with `fleet`: backbone, bounds, inputs, tasks
    manifest.sha256

Tasks may differ in labels, in parents, cells, top_k and temperature within `bounds`. They share, proved and not
assumed: every tensor of the backbone, the computation, the tokenizer, and whether a LayerNorm follows the memory.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from spartanc.base.progress import stage
from spartanc.compiler import pipeline
from spartanc.compiler.artifact import replaced_whole, whole_or_nothing, write_manifest
from spartanc.compiler.backbone import Backbone, describe_backbone, require_equal, require_equal_tensors
from spartanc.compiler.fleet_program import TaskProgram, build_program, task_program
from spartanc.compiler.lower import Lowered
from spartanc.compiler.proof import DEFAULT_GATES, Parity, compare, eager_logits, require
from spartanc.compiler.samples import Samples
from spartanc.compiler.sealing import seal
from spartanc.compiler.versions import versions
from spartanc.errors import UsageError
from spartanc.models.checkpoint import TrainedModel, load_model
from spartanc.passes.ops.memory_lookup import INT4_GROUP
from spartanc.passes.protocol import PassReport
from spartanc.runtime_py.build import install_runtime
from spartanc.runtime_py.bundle import FLEET, TOKENIZER, Bundle, open_bundle
from spartanc.runtime_py.devices.device import Device
from spartanc.runtime_py.devices.local import LocalDevice
from spartanc.runtime_py.devices.qemu import QemuDevice
from spartanc.runtime_py.devices.stock import StockDevice
from spartanc.runtime_py.signature import SIGNATURE, read_private_key
from spartanc.runtime_py.task_file import (
    NAME,
    SUFFIX,
    TaskFile,
    check_task,
    dtype_name,
    open_task,
    read_interface,
    write_task,
)

TASKS = "tasks"
# What the program takes at least; the tasks it is compiled with widen it. Only activations of the portable form grow
# with these, so they are generous.
LEAST_BOUNDS = {"parents": 64, "cells": 512, "classes": 128}
EMULATED_ROWS = 2  # a task


@dataclass
class _Made:
    """One task on its way into a fleet."""

    name: str
    source: Path
    model_facts: dict[str, Any]
    samples: Samples
    expected: list[np.ndarray]
    tensors: dict[str, np.ndarray]
    parity: Parity | None = None
    probe: dict[str, Any] | None = None


def compile_fleet(request: pipeline.CompileRequest, plan: pipeline.Plan) -> dict[str, Any]:
    """Compile several models of one backbone to one proved fleet; returns the JSON of `spartanc compile`."""
    start = time.monotonic()
    if plan.format != "executorch":
        raise UsageError(
            f"`--shared-backbone` does not go with `--format {plan.format}`", hint="`--format executorch` takes it"
        )
    if request.data is not None and len(request.models) > 1:
        raise UsageError(
            "`--data` holds texts of one task, and several models were given",
            hint="each model is proved on the evaluation texts that it brings",
        )
    names = [task_name(path) for path in request.models]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"two models give the task `{name}`", hint="rename one of the files")

    made: list[_Made] = []
    first: TaskProgram | None = None
    backbone: Backbone | None = None
    tokenizer, facts, max_length = None, {}, 0
    for name, path in zip(names, request.models, strict=True):
        with stage(f"load {name}"):
            model = load_model(path)
            if backbone is None:
                max_length = pipeline._check_length(request.max_length, model)
            else:
                require_equal_tensors(backbone.tensors, model, str(path), str(request.models[0]), backbone.digest)
        task, program = _make_task(name, path, model, request, plan.lowering, plan.quantization, max_length)
        if first is None or backbone is None:
            first, backbone = program, describe_backbone(model, program.lifted.computation)
            tokenizer = model.tokenizer
            facts = {"architecture": model.encoder_config["model_type"], "vocabulary_size": model.vocabulary_size}
        else:
            require_equal(backbone.as_dict(), model, program.lifted.computation, str(path))
        made.append(task)
    assert first is not None and backbone is not None

    bounds = _bounds(made)
    with stage("lower the shared program"):
        lowered, reports = build_program(
            first, bounds, plan.lowering, plan.quantization, max_length, plan.linears.kernels
        )
    fleet = {
        "backbone": backbone.as_dict(),
        "quantization": tensor_quantization(plan.lowering, plan.quantization),
        "bounds": {word: list(bound) for word, bound in bounds.items()},
        "inputs": [
            {
                "name": each.name,
                "dtype": dtype_name(first.tensors[each.name].dtype),
                "shape": list(each.shape),
            }
            for each in first.inputs
        ],
    }

    with whole_or_nothing(request.out) as directory:
        with stage("emit"):
            (directory / plan.program).write_bytes(lowered.program)
            if tokenizer is not None:
                (directory / TOKENIZER).write_text(tokenizer, encoding="utf-8")
            if plan.runtime:
                install_runtime(plan.target, directory)
        for task in made:
            with stage(f"prove {task.name} on {len(task.samples.rows)} inputs"):
                _prove(plan.local_device, directory, plan.program, task, plan.quantization)
            if plan.runtime and plan.target.runs_under_qemu:
                with stage(f"prove {task.name} on {plan.target.qemu_cpu} under qemu"):
                    _prove_emulated(QemuDevice(plan.target), directory, plan.program, task, plan.quantization)
        rows = {task.name: _write(directory, task, fleet) for task in made}
        done = _what_was_done(plan, lowered, [*first.reports, *reports], made)
        manifest = _manifest(plan, max_length, made[0]) | facts | done | {"fleet": fleet | {"tasks": rows}}
        files = seal(directory, manifest, request)
        _check_all(directory, native=plan.lowering == "fused")

    return {
        "bundle": str(request.out),
        "files": files,
        "seconds": round(time.monotonic() - start, 3),
        "truncated": sum(task.samples.truncated for task in made),
        **done,
        "bounds": fleet["bounds"],
        **sizes(lowered_bytes=files[plan.program], tasks=rows),
    }


def add_task(
    path: Path,
    source: Path,
    name: str | None = None,
    data: Path | None = None,
    sign: Path | None = None,
    require_signature: Path | None = None,
) -> dict[str, Any]:
    """Add the task of a model to the fleet at `path`; the program stays as it is, byte by byte."""
    start = time.monotonic()
    bundle, fleet = open_fleet(path, require_signature)
    _check_sign(bundle, sign)
    name = task_name(source) if name is None else _checked_name(name)
    if name in fleet["tasks"]:
        raise UsageError(f"the fleet `{path}` has a task `{name}` already", hint="give another one with `--name`")
    with stage(f"load {name}"):
        model = load_model(source)
        backbone = fleet["backbone"]
        require_equal_tensors(backbone["tensors"], model, str(source), str(path), backbone["digest"])
        _check_within(fleet["bounds"], model, source)
    lowering = bundle.manifest["lowering"]
    request = pipeline.CompileRequest(models=(source,), target=bundle.target, out=path, data=data)
    task, program = _make_task(name, source, model, request, lowering, bundle.quantization, bundle.max_length)
    require_equal(backbone, model, program.lifted.computation, str(source))
    device = StockDevice() if lowering == "portable" else LocalDevice()
    with stage(f"prove {name} on {len(task.samples.rows)} inputs"):
        _prove(device, bundle.path, bundle.manifest["program"], task, bundle.quantization)
    with replaced_whole(path) as directory:
        row = _write(directory, task, fleet)
        tasks = fleet["tasks"] | {name: row}
        write_manifest(directory, bundle.manifest | {"fleet": fleet | {"tasks": tasks}}, sign)
        _check_one(directory, name, native=lowering == "fused")
    return {"fleet": str(path), "added": name, **row, "seconds": round(time.monotonic() - start, 3)}


def remove_task(
    path: Path, name: str, sign: Path | None = None, require_signature: Path | None = None
) -> dict[str, Any]:
    """Take the task `name` out of the fleet at `path`."""
    bundle, fleet = open_fleet(path, require_signature)
    _check_sign(bundle, sign)
    if name not in fleet["tasks"]:
        raise UsageError(
            f"the fleet `{path}` has no task `{name}`", hint=f"it has {', '.join(fleet['tasks']) or 'none'}"
        )
    tasks = {other: row for other, row in fleet["tasks"].items() if other != name}
    with replaced_whole(path) as directory:
        (directory / fleet["tasks"][name]["file"]).unlink()
        write_manifest(directory, bundle.manifest | {"fleet": fleet | {"tasks": tasks}}, sign)
    return {"fleet": str(path), "removed": name, "tasks": list(tasks)}


def list_tasks(path: Path, require_signature: Path | None = None) -> dict[str, Any]:
    """What the fleet at `path` holds: the JSON of `spartanc list`."""
    bundle, fleet = open_fleet(path, require_signature)
    return {
        "fleet": str(path),
        "target": bundle.target,
        "quantization": bundle.quantization,
        "lowering": bundle.manifest["lowering"],
        "backbone": fleet["backbone"]["digest"],
        "bounds": fleet["bounds"],
        **sizes(lowered_bytes=bundle.manifest["files"][bundle.manifest["program"]]["bytes"], tasks=fleet["tasks"]),
    }


def open_fleet(path: Path, require_signature: Path | None = None) -> tuple[Bundle, dict[str, Any]]:
    """The bundle at `path`, checked whole, and the part of its manifest that makes it a fleet."""
    bundle = open_bundle(path, require_signature=require_signature)
    if not bundle.is_fleet:
        raise UsageError(
            f"`{path}` holds one task over a backbone of its own",
            hint="`spartanc compile --shared-backbone` makes a bundle of several tasks",
        )
    read_interface(bundle.manifest, path)
    return bundle, bundle.manifest["fleet"]


def _check_sign(bundle: Bundle, sign: Path | None) -> None:
    """A change ends the signature that there was, so a signed fleet is changed by whoever can sign it again."""
    if sign is not None:
        read_private_key(sign)
    elif bundle.is_signed:
        raise UsageError(
            f"the fleet `{bundle.path}` is signed, and a change ends its signature",
            hint=f"`--sign KEY` signs it again; or remove its `{SIGNATURE}` first",
        )


def task_name(path: Path) -> str:
    """A task is called as its model's file is, without `.pt`."""
    return _checked_name(path.absolute().name.removesuffix(".pt"))


def tensor_quantization(lowering: str, quantization: str) -> str:
    """The form of a task's tensors: stock operators take them in fp32 alone."""
    return "none" if lowering == "portable" else quantization


def sizes(lowered_bytes: int, tasks: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Bytes of the backbone and of each task, and what as many separate programs would take."""
    each = {name: row["bytes"] for name, row in tasks.items()}
    return {
        "backbone_bytes": lowered_bytes,
        "tasks": {name: dict(row) for name, row in tasks.items()},
        "fleet_bytes": lowered_bytes + sum(each.values()),
        "separate_bytes": sum(lowered_bytes + count for count in each.values()),
    }


def _checked_name(name: str) -> str:
    if not NAME.fullmatch(name):
        raise UsageError(
            f"`{name}` can't be a task's name: at most 64 letters, digits, `.`, `_` and `-`, no sign first",
            hint="rename the model's file, or give `--name` to `add-task`",
        )
    return name


def _make_task(
    name: str,
    path: Path,
    model: TrainedModel,
    request: pipeline.CompileRequest,
    lowering: str,
    quantization: str,
    max_length: int,
) -> tuple[_Made, TaskProgram]:
    hidden = model.module.config.hidden_size
    if tensor_quantization(lowering, quantization) == "int4" and hidden % INT4_GROUP:
        raise UsageError(
            f"int4 memories have a scale for groups of {INT4_GROUP}, which do not divide the hidden size {hidden} of"
            f" `{path}`, and all tasks of a fleet have one form",
            hint="`--quantize int8` takes any hidden size",
        )
    samples = pipeline._proof_samples(replace(request, models=(path,)), model, max_length)
    expected = eager_logits(model.module, samples.rows)
    with stage(f"capture {name}"):
        program = task_program(model, lowering, quantization, max_length, samples.rows[:2])
    memory = asdict(model.spartan)
    facts = {"problem": model.problem, "labels": list(model.labels), "memory": memory}
    return _Made(name, path, facts, samples, expected, program.tensors), program


def _bounds(made: list[_Made]) -> dict[str, tuple[int, int]]:
    found = {word: [least] for word, least in LEAST_BOUNDS.items()}
    for task in made:
        for word, size in _bounded(task.model_facts["memory"], task.model_facts["labels"]).items():
            found[word].append(size)
    return {word: (1, max(values)) for word, values in found.items()}


def _bounded(memory: Mapping[str, Any], labels: list[str]) -> dict[str, int]:
    return {"parents": memory["parents"], "cells": memory["cells"], "classes": max(len(labels), 1)}


def _check_within(bounds: Mapping[str, list[int]], model: TrainedModel, source: Path) -> None:
    for word, size in _bounded(asdict(model.spartan), list(model.labels)).items():
        if not bounds[word][0] <= size <= bounds[word][1]:
            raise UsageError(
                f"`{source}` has {size} {word}, the fleet's program takes {bounds[word][0]} to {bounds[word][1]}",
                hint="compile the fleet anew with this model among the others: its bounds then include it",
            )


def _prove(device: Device, directory: Path, program: str, task: _Made, quantization: str) -> None:
    """Every row as it stands against eager; keeps the parity, and a probe with the program's own answer."""
    rows = task.samples.rows
    got = device.run(directory, directory / program, rows, keep_padding=True, inputs=task.tensors)
    task.parity = compare(task.expected, got)
    require(task.parity, DEFAULT_GATES[quantization], f"{device.name}, task {task.name}")
    chosen = pipeline.probe_index(rows)
    task.probe = pipeline._probe(rows[chosen], got[chosen], quantization)


def _prove_emulated(device: Device, directory: Path, program: str, task: _Made, quantization: str) -> None:
    few = pipeline._shortest(task.samples.rows, EMULATED_ROWS)
    rows, expected = [task.samples.rows[i] for i in few], [task.expected[i] for i in few]
    got = device.run(directory, directory / program, rows, keep_padding=True, inputs=task.tensors)
    require(compare(expected, got), DEFAULT_GATES[quantization], f"{device.name}, task {task.name}")


def _write(directory: Path, task: _Made, fleet: Mapping[str, Any]) -> dict[str, Any]:
    """Write the task's file; returns what the manifest says of it."""
    file = directory / TASKS / f"{task.name}{SUFFIX}"
    file.parent.mkdir(exist_ok=True)
    said = {
        "name": task.name,
        "backbone": fleet["backbone"]["digest"],
        "quantization": fleet["quantization"],
        **task.model_facts,
        "probe": task.probe,
    }
    digest = write_task(file, task.tensors, said)
    assert task.parity is not None
    return {
        "file": file.relative_to(directory).as_posix(),
        "bytes": file.stat().st_size,
        "digest": digest,
        **task.model_facts,
        "truncated": task.samples.truncated,
        "parity": task.parity.as_dict(),
    }


def _what_was_done(
    plan: pipeline.Plan, lowered: Lowered, reports: list[PassReport], made: list[_Made]
) -> dict[str, Any]:
    parities = [task.parity for task in made if task.parity is not None]
    inputs = sum(parity.samples for parity in parities)
    worst = Parity(
        max(parity.max_abs_diff for parity in parities),
        sum(parity.label_agreement * parity.samples for parity in parities) / inputs,
        inputs,
    )
    return pipeline._made(plan, lowered, reports, worst)


def _manifest(plan: pipeline.Plan, max_length: int, first: _Made) -> dict[str, Any]:
    assert first.probe is not None
    return {
        "versions": versions(plan.target if plan.runtime else None),
        "program": plan.program,
        "program_format": "executorch",
        "problem": FLEET,
        "labels": [],
        "inputs": [{"name": name, "dtype": "int64", "shape": [1, "L"]} for name in ("input_ids", "attention_mask")],
        "outputs": [{"name": "logits", "dtype": "float32", "shape": [1, "classes"]}],
        "max_length": max_length,
        # Every task has a probe of its own; this is an input to measure with.
        "probe": {name: first.probe[name] for name in ("input_ids", "attention_mask")},
    }


def _check_all(directory: Path, native: bool) -> None:
    for name in open_bundle(directory).manifest["fleet"]["tasks"]:
        _check_one(directory, name, native)


def _check_one(directory: Path, name: str, native: bool) -> None:
    """The task as whoever opens it will find it: every check, and in the native session its probe."""
    bundle = open_bundle(directory)
    task: TaskFile = open_task(directory / bundle.manifest["fleet"]["tasks"][name]["file"])
    check_task(task, read_interface(bundle.manifest, directory))
    if native:
        row = (task.probe.input_ids, task.probe.attention_mask)
        LocalDevice().run(directory, bundle.program, [row], task=name)
