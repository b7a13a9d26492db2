"""The last act of every compile: the manifest, its signature, and the proof that the same comes out again."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spartanc.base.progress import stage
from spartanc.compiler.artifact import check_output, write_manifest
from spartanc.errors import CompileError, GateError
from spartanc.runtime_py.bundle import MANIFEST
from spartanc.runtime_py.signature import read_private_key

if TYPE_CHECKING:
    from spartanc.compiler.pipeline import CompileRequest

_HASH_SEED = "20260"  # of the second run; the first has Python's own, which is another one every time


def check_request(request: CompileRequest) -> None:
    """What would fail at the end fails at the beginning: a key that can't be read."""
    if request.sign is not None:
        read_private_key(request.sign)


def seal(directory: Path, manifest: dict[str, Any], request: CompileRequest) -> dict[str, int]:
    """Write manifest, digest and, where asked, signature; then compare with an earlier run, where there is one.

    Returns the size of every file. Raises GateError where a byte differs.
    """
    files = write_manifest(directory, manifest, sign=request.sign)
    if request.twin is not None:
        require_identical(directory, request.twin)
    return files


def compile_twice(request: CompileRequest) -> dict[str, Any]:
    """Compile in another process, then in this one, and write the bundle only if every byte is the same."""
    from spartanc.compiler.pipeline import compile_model

    check_output(request.out)
    check_request(request)
    with tempfile.TemporaryDirectory(prefix="spartanc-twin-") as scratch:
        twin = Path(scratch, "bundle")
        with stage("compile once, in a process of its own"):
            _compile_apart(request, twin)
        result = compile_model(replace(request, twin=twin))
    return result | {"reproducible": True}


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


def _compile_apart(request: CompileRequest, out: Path) -> None:
    words = [sys.executable, "-m", "spartanc", "compile", *map(str, request.models), "--json"]
    for field in fields(request):
        value = getattr(request, field.name)
        if field.name in ("models", "twin", "runtime", "out") or value is None or value is False:
            continue
        option = "--" + field.name.replace("_", "-")
        words += [option] if value is True else [option, str(value)]
    words += ["--out", str(out), *([] if request.runtime else ["--no-runtime"])]

    environment = os.environ | {"PYTHONHASHSEED": _HASH_SEED}
    done = subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment)
    if done.returncode != 0:
        said = done.stderr[done.stderr.rfind("error: ") :].removeprefix("error: ").strip()
        raise CompileError(f"the first of the two compiles failed (exit {done.returncode}): {said}")
