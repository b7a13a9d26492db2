"""`spartanc doctor`: what is installed, what is missing, and what to do about it."""

from __future__ import annotations

import importlib.metadata
import platform
import shutil
from typing import Any

from packaging.requirements import Requirement

from spartanc.base.targets.catalogue import all_targets
from spartanc.base.toolchain import HOST_COMPILER, TOOLCHAINS
from spartanc.runtime_py.devices.catalogue import KINDS
from spartanc.runtime_py.setup_target import is_ready


def examine() -> list[dict[str, Any]]:
    """One row per item: name, ok, detail, needed_for, and a hint on how to fix it (None if ok)."""
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
    compilers = [HOST_COMPILER, *(toolchain.compiler for toolchain in TOOLCHAINS.values())]
    rows = []
    for each in (*compilers, *(program for kind in KINDS for program in kind.programs)):
        there = shutil.which(each.name) is not None
        detail = each.purpose if there else f"missing: {each.purpose}"
        rows.append(_row(each.name, there, detail, each.needed_for, each.hint))
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
