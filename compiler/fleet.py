"""Fleets after their compile: tasks are added, removed and listed. `spartanc.compiler.kinds` says what a fleet is."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spartanc.base.progress import stage
from spartanc.base.schemes.catalogue import find_scheme
from spartanc.compiler.artifact import check_replaceable, replaced_whole, write_manifest
from spartanc.compiler.backbone import require_equal, require_equal_tensors
from spartanc.compiler.backends.catalogue import backend_of
from spartanc.compiler.fleet_program import task_sizes
from spartanc.compiler.kinds import lifted_task, sizes, task_name
from spartanc.compiler.member import load_member
from spartanc.compiler.pipeline import build_pipeline
from spartanc.compiler.steps import LIFT
from spartanc.compiler.task_files import check_written_task, checked_name, require_hidden_size, write_member
from spartanc.errors import UsageError
from spartanc.models.checkpoint import TrainedModel, load_model
from spartanc.runtime_py.bundle import Bundle, open_bundle
from spartanc.runtime_py.data import Columns, require_data
from spartanc.runtime_py.signature import SIGNATURE, read_private_key
from spartanc.runtime_py.task_file import read_interface


def add_task(
    path: Path,
    source: Path,
    name: str | None = None,
    data: Path | None = None,
    sign: Path | None = None,
    require_signature: Path | None = None,
    columns: Columns | None = None,
) -> dict[str, Any]:
    """Add the task of a model to the fleet at `path`; the program stays as it is, byte by byte.

    Tasks that others add or remove meanwhile are kept as they left them.
    """
    start = time.monotonic()
    require_data(columns, data)
    bundle, fleet = open_fleet(path, require_signature)
    check_replaceable(path)
    _check_sign(bundle, sign)
    name = task_name(source) if name is None else checked_name(name)
    _check_new(bundle, name)
    backend, scheme = backend_of(bundle.manifest), find_scheme(bundle.quantization)
    with stage(f"load {name}"):
        model = load_model(source)
        backbone = fleet["backbone"]
        require_equal_tensors(backbone["tensors"], model, str(source), str(path), backbone["digest"])
        require_hidden_size(backend.task_scheme(scheme), model, source)
        _check_within(fleet["bounds"], model, source)
        member = load_member(name, source, model, bundle.max_length, data, columns)
    pipeline = build_pipeline(backend, scheme, bundle.max_length, task_of=model)
    task = lifted_task(pipeline.up_to(LIFT).run(member.artifact(model.module)))
    require_equal(backbone, model, task.lifted.computation, str(source))
    member.tensors = task.tensors
    with stage(f"prove {name} on {len(member.samples.rows)} inputs"):
        member.prove(backend.device(), bundle.program, scheme)
    with replaced_whole(path) as directory:
        now = _open_again(bundle, require_signature)
        _check_sign(now, sign)
        _check_new(now, name)
        row = write_member(directory, member, fleet)
        _write_tasks(directory, now, now.manifest["fleet"]["tasks"] | {name: row}, sign)
        check_written_task(directory, name)
    return {"fleet": str(path), "added": name, **row, "seconds": round(time.monotonic() - start, 3)}


def remove_task(
    path: Path, name: str, sign: Path | None = None, require_signature: Path | None = None
) -> dict[str, Any]:
    """Take the task `name` out of the fleet at `path`."""
    open_fleet(path, require_signature, without=name)  # what is no fleet is refused as such, before it is locked
    with replaced_whole(path) as directory:
        bundle, fleet = open_fleet(path, require_signature, without=name)
        _check_sign(bundle, sign)
        if name not in fleet["tasks"]:
            raise UsageError(
                f"the fleet `{path}` has no task `{name}`", hint=f"it has {', '.join(fleet['tasks']) or 'none'}"
            )
        tasks = {other: row for other, row in fleet["tasks"].items() if other != name}
        (directory / fleet["tasks"][name]["file"]).unlink(missing_ok=True)
        _write_tasks(directory, bundle, tasks, sign)
        open_bundle(directory)
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
        **sizes(bundle.manifest["files"][bundle.manifest["program"]]["bytes"], fleet["tasks"]),
    }


def open_fleet(
    path: Path, require_signature: Path | None = None, without: str | None = None
) -> tuple[Bundle, dict[str, Any]]:
    """The bundle at `path`, checked whole, and the part of its manifest that makes it a fleet.

    without: a task whose file may be damaged.
    """
    bundle = open_bundle(path, require_signature=require_signature, task_by_task=without is not None)
    if bundle.damaged.keys() - {without}:
        bundle = open_bundle(path, require_signature=require_signature)  # says which file it is
    if not bundle.is_fleet:
        raise UsageError(
            f"`{path}` holds one task over a backbone of its own",
            hint="`spartanc compile --shared-backbone` makes a bundle of several tasks",
        )
    read_interface(bundle.manifest, path)
    return bundle, bundle.manifest["fleet"]


def _open_again(before: Bundle, require_signature: Path | None) -> Bundle:
    """The fleet as it is now, which may have other tasks than `before`; UsageError where anything else differs."""
    now, _ = open_fleet(before.path, require_signature)
    if _without_tasks(now.manifest) != _without_tasks(before.manifest):
        raise UsageError(f"the fleet `{before.path}` was replaced by another one meanwhile", hint="try again")
    return now


def _without_tasks(manifest: Mapping[str, Any]) -> dict[str, Any]:
    fleet = manifest["fleet"]
    of_tasks = {row["file"] for row in fleet["tasks"].values()}
    files = {name: row for name, row in manifest["files"].items() if name not in of_tasks}
    return {**manifest, "files": files, "fleet": {**fleet, "tasks": {}}}


def _write_tasks(directory: Path, bundle: Bundle, tasks: Mapping[str, Any], sign: Path | None) -> None:
    """The manifest of `bundle` with other tasks, in `directory`."""
    write_manifest(directory, bundle.manifest | {"fleet": bundle.manifest["fleet"] | {"tasks": tasks}}, sign)


def _check_new(bundle: Bundle, name: str) -> None:
    if name in bundle.manifest["fleet"]["tasks"]:
        raise UsageError(f"the fleet `{bundle.path}` has a task `{name}` already", hint="give another with `--name`")


def _check_sign(bundle: Bundle, sign: Path | None) -> None:
    """A change ends the signature that there was, so a signed fleet is changed by whoever can sign it again."""
    if sign is not None:
        read_private_key(sign)
    elif bundle.is_signed:
        raise UsageError(
            f"the fleet `{bundle.path}` is signed, and a change ends its signature",
            hint=f"`--sign KEY` signs it again; or remove its `{SIGNATURE}` first",
        )


def _check_within(bounds: Mapping[str, list[int]], model: TrainedModel, source: Path) -> None:
    for word, size in task_sizes(model).items():
        if not bounds[word][0] <= size <= bounds[word][1]:
            raise UsageError(
                f"`{source}` has {size} {word}, the fleet's program takes {bounds[word][0]} to {bounds[word][1]}",
                hint="compile the fleet anew with this model among the others: its bounds then include it",
            )
