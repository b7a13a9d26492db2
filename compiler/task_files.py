"""The files of a shared program's tasks: written, and checked as whoever opens them finds them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spartanc.base.schemes.scheme import Scheme
from spartanc.compiler.backends.catalogue import backend_of
from spartanc.compiler.member import Member
from spartanc.errors import UsageError
from spartanc.models.checkpoint import TrainedModel
from spartanc.runtime_py.bundle import open_bundle
from spartanc.runtime_py.devices.local import LocalDevice
from spartanc.runtime_py.task_file import (
    NAME,
    SUFFIX,
    TaskFile,
    check_task,
    labels_as_written,
    open_task,
    read_interface,
    write_task,
)

TASKS = "tasks"


def write_member(directory: Path, member: Member, fleet: Mapping[str, Any]) -> dict[str, Any]:
    """Write the task's file; returns what the manifest says of it. fleet: the manifest's `fleet`."""
    file = directory / TASKS / f"{member.name}{SUFFIX}"
    file.parent.mkdir(exist_ok=True)
    facts = dict(member.facts)
    labels = labels_as_written(facts["labels"], facts.pop("thresholds", ()))
    said = {
        "name": member.name,
        "backbone": fleet["backbone"]["digest"],
        "quantization": fleet["quantization"],
        **facts,
        "labels": labels,
        "probe": member.probe,
    }
    digest = write_task(file, member.tensors, said)
    return {
        "file": file.relative_to(directory).as_posix(),
        "bytes": file.stat().st_size,
        "digest": digest,
        **member.facts,
        "truncated": member.samples.truncated,
        "parity": member.found.as_dict(),
    }


def check_every_task(directory: Path) -> None:
    for name in open_bundle(directory).manifest["fleet"]["tasks"]:
        check_written_task(directory, name)


def check_written_task(directory: Path, name: str) -> None:
    """The task as whoever opens it will find it: every check, and in the native session its probe."""
    bundle = open_bundle(directory)
    task: TaskFile = open_task(directory / bundle.manifest["fleet"]["tasks"][name]["file"])
    check_task(task, read_interface(bundle.manifest, directory))
    if not backend_of(bundle.manifest).stock:
        row = (task.probe.input_ids, task.probe.attention_mask)
        LocalDevice().run(directory, bundle.program, [row], task=name)


def checked_name(name: str) -> str:
    """`name` if a task may be called so; UsageError otherwise."""
    if not NAME.fullmatch(name):
        raise UsageError(
            f"`{name}` can't be a task's name: at most 64 letters, digits, `.`, `_` and `-`, no sign first",
            hint="rename the model's file, or give `--name` to `add-task`",
        )
    return name


def require_hidden_size(scheme: Scheme, model: TrainedModel, source: Path) -> None:
    """Raise UsageError if the model's hidden size does not fit the scheme of a fleet's tasks."""
    hidden = model.module.config.hidden_size
    if hidden % scheme.hidden_multiple:
        raise UsageError(
            f"{scheme.name} memories have a scale for groups of {scheme.hidden_multiple}, which do not divide the"
            f" hidden size {hidden} of `{source}`, and all tasks of a fleet have one form",
            hint="`--quantize int8` takes any hidden size",
        )
