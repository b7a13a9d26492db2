"""`spartanc doctor`: what is installed, what is missing, and what to do about it."""

from __future__ import annotations

import importlib.metadata
import platform
import shutil
from typing import Any

from packaging.requirements import Requirement

from spartanc.base.targets.catalogue import all_targets
from spartanc.runtime_py.setup_target import is_ready

PROGRAMS = {
    "g++": ("host", "builds the kernels for this machine", "apt-get install g++"),
    "aarch64-linux-gnu-g++": (
        "aarch64",
        "builds the runtime for Arm boards",
        "apt-get install g++-aarch64-linux-gnu",
    ),
    "qemu-aarch64-static": ("qemu", "runs Arm programs here", "apt-get install qemu-user-static"),
    "ssh": ("ssh", "reaches boards", "apt-get install openssh-client"),
    "adb": ("adb", "reaches phones", "apt-get install adb"),
}


def examine() -> list[dict[str, Any]]:
    """One row a thing: name, ok, detail, needed_for, and the hint that mends it (None where ok)."""
    return [*_packages(), *_programs(), *_targets()]


def _packages() -> list[dict[str, Any]]:
    rows = []
    for text in importlib.metadata.requires("spartanc") or ():
        requirement = Requirement(text)
        if requirement.marker is not None:
            continue
        try:
            version = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            version = None
        # `2.13.0+cpu` is a build of 2.13.0
        ok = version is not None and requirement.specifier.contains(version.split("+")[0])
        rows.append(_row(requirement.name, ok, version or "missing", "host", f"pip install '{requirement}'"))
    python = platform.python_version()
    return [_row("python", True, python, "host", ""), *rows]


def _programs() -> list[dict[str, Any]]:
    rows = []
    for name, (needed_for, purpose, hint) in PROGRAMS.items():
        path = shutil.which(name)
        rows.append(_row(name, path is not None, purpose if path else f"missing: {purpose}", needed_for, hint))
    return rows


def _targets() -> list[dict[str, Any]]:
    return [
        _row(
            f"target {target.name}",
            is_ready(target.name),
            target.title,
            target.name,
            f"spartanc setup {target.name}",
        )
        for target in all_targets()
    ]


def _row(name: str, ok: bool, detail: str, needed_for: str, hint: str) -> dict[str, Any]:
    return {"name": name, "ok": ok, "detail": detail, "needed_for": needed_for, "hint": None if ok else hint}
