"""The last act of every compile: the manifest, its signature, and the comparison with an earlier run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from spartanc.compiler.artifact import write_manifest
from spartanc.compiler.request import CompileRequest
from spartanc.errors import GateError
from spartanc.runtime_py.bundle import MANIFEST


def seal(directory: Path, manifest: dict[str, Any], request: CompileRequest) -> dict[str, int]:
    """Write manifest, digest and, where asked, signature; then compare with an earlier run, where there is one.

    Returns the size of every file. Raises GateError where a byte differs.
    """
    files = write_manifest(directory, manifest, sign=request.sign)
    if request.twin is not None:
        require_identical(directory, request.twin)
    return files


def require_identical(directory: Path, twin: Path) -> None:
    """GateError unless both hold the same files with the same bytes."""
    ours, theirs = _contents(directory), _contents(twin)
    different = sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))
    if not different:
        return
    # The manifest differs wherever anything does; what made it so is the news.
    listed = ", ".join(f"`{name}`" for name in [name for name in different if name != MANIFEST][:5] or different)
    raise GateError(
        f"two compiles of the same model gave different files: {listed}; no bundle was written",
        hint="something that goes into the bundle changed between the two, or depends on more than the model",
    )


def _contents(directory: Path) -> dict[str, bytes]:
    return {
        file.relative_to(directory).as_posix(): file.read_bytes() for file in directory.rglob("*") if file.is_file()
    }
