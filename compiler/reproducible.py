"""`spartanc compile --check-reproducible`: two compiles of one request, the first in a process of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from dataclasses import fields, replace
from pathlib import Path

from spartanc.base.progress import stage
from spartanc.compiler.pipeline import compile_model
from spartanc.compiler.request import CompileRequest, make_plan
from spartanc.compiler.results import CompileResult
from spartanc.errors import (
    CompileError,
    GateError,
    MissingToolError,
    SpartancError,
    UnsupportedModelError,
    UsageError,
)

_HASH_SEED = "20260"  # of the second run; the first has Python's own, which is another one every time
_KINDS = (UsageError, UnsupportedModelError, CompileError, MissingToolError, GateError)
_ERROR = re.compile(r"^(?:\w*Error|error): ", re.MULTILINE)  # click's has a capital, and a traceback ends in one


def compile_twice(request: CompileRequest) -> CompileResult:
    """Compile in another process, then in this one, and write the bundle only if every byte is the same."""
    make_plan(request)  # what can't be compiled at all is said once, and by this process
    with tempfile.TemporaryDirectory(prefix="spartanc-twin-") as scratch:
        twin = Path(scratch, "bundle")
        with stage("compile once, in a process of its own"):
            _compile_apart(request, twin)
        result = compile_model(replace(request, twin=twin))
    return replace(result, reproducible=True)


def _compile_apart(request: CompileRequest, out: Path) -> None:
    words = [sys.executable, "-m", "spartanc", "compile", "--json", f"--out={out}"]
    for field in fields(request):
        value = getattr(request, field.name)
        if field.name in ("models", "twin", "runtime", "out", "columns") or value is None or value is False:
            continue
        option = "--" + field.name.replace("_", "-")
        words += [option] if value is True else [f"{option}={value}"]
    if request.columns is not None:
        words += [f"{option}={given}" for option, given in request.columns.options.items() if given is not None]
    words += [*([] if request.runtime else ["--no-runtime"]), "--", *map(str, request.models)]

    environment = os.environ | {"PYTHONHASHSEED": _HASH_SEED}
    done = subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment)
    if done.returncode != 0:
        raise _as_error(done.returncode, done.stderr)


def _as_error(code: int, stderr: str) -> SpartancError:
    """What the other process ended with, as an error of the same kind, so that its exit code stays."""
    begin = max((each.end() for each in _ERROR.finditer(stderr)), default=0)
    message, _, hint = stderr[begin:].strip().partition("\nhint: ")
    kind = next((each for each in _KINDS if each.exit_code == code), CompileError)  # else a signal ended it, say
    return kind(f"the first of the two compiles failed (exit {code}): {message}", hint=hint or None)
