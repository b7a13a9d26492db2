"""`spartanc compile --check-reproducible`: two compiles of one request, the first in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from dataclasses import fields, replace
from pathlib import Path

from spartanc.base.progress import stage
from spartanc.compiler.artifact import check_output
from spartanc.compiler.pipeline import compile_model
from spartanc.compiler.request import CompileRequest, check_key
from spartanc.compiler.results import CompileResult
from spartanc.errors import CompileError

_HASH_SEED = "20260"  # of the second run; the first has Python's own, which is another one every time


def compile_twice(request: CompileRequest) -> CompileResult:
    """Compile in another process, then in this one, and write the bundle only if every byte is the same."""
    check_output(request.out)
    check_key(request)
    with tempfile.TemporaryDirectory(prefix="spartanc-twin-") as scratch:
        twin = Path(scratch, "bundle")
        with stage("compile once, in a process of its own"):
            _compile_apart(request, twin)
        result = compile_model(replace(request, twin=twin))
    return replace(result, reproducible=True)


def _compile_apart(request: CompileRequest, out: Path) -> None:
    words = [sys.executable, "-m", "spartanc", "compile", *map(str, request.models), "--json"]
    for field in fields(request):
        value = getattr(request, field.name)
        if field.name in ("models", "twin", "runtime", "out", "columns") or value is None or value is False:
            continue
        option = "--" + field.name.replace("_", "-")
        words += [option] if value is True else [option, str(value)]
    if request.columns is not None:
        named = {each.name: getattr(request.columns, each.name) for each in fields(request.columns)}
        words += [f"--{name}-column={column}" for name, column in named.items() if column is not None]
    words += ["--out", str(out), *([] if request.runtime else ["--no-runtime"])]

    environment = os.environ | {"PYTHONHASHSEED": _HASH_SEED}
    done = subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment)
    if done.returncode != 0:
        said = done.stderr[done.stderr.rfind("error: ") :].removeprefix("error: ").strip()
        raise CompileError(f"the first of the two compiles failed (exit {done.returncode}): {said}")
