"""`spartanc.load`: a bundle on disk to a `Classifier`, with the native runtime that fits this machine.

Apart from `classifier.py`, which goes to boards with the library that it is given: nothing there builds one.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from spartanc.errors import UsageError
from spartanc.runtime_py.build import LIBRARY
from spartanc.runtime_py.bundle import Bundle, open_bundle
from spartanc.runtime_py.classifier import Classifier
from spartanc.runtime_py.local_runtime import local_runtime


def load(
    bundle: str | os.PathLike[str],
    *,
    threads: int | None = None,
    sessions: int = 1,
    require_signature: str | os.PathLike[str] | None = None,
) -> Classifier:
    """Check the bundle, or fleet, at `bundle` whole and load its program into this process.

    threads: of the pool that all sessions of this process share; one a processor by default.
    sessions: how many rows may run at once; threads beyond that wait.
    require_signature: a public key; the bundle must be signed with its other half.

    The bundle's own native runtime is used if it is for this processor, else this machine's, which is built the first
    time (with a C++ compiler, from an installation with executorch).

    A damaged task of a fleet is refused when it is used, by its name; the others answer.

    Raises UsageError if the bundle is altered, not signed as required, or can't be loaded; MissingToolError if there is
    no native runtime for this machine.
    """
    key = None if require_signature is None else Path(require_signature)
    opened = open_bundle(Path(bundle), require_signature=key, task_by_task=True)
    require_native(opened)
    opened = replace(opened, path=opened.path.absolute())  # tasks are opened later, wherever the program is by then
    library = local_runtime(opened.path) / LIBRARY
    return Classifier(opened, library=library, threads=threads, sessions=sessions)


def require_native(bundle: Bundle) -> None:
    """Raise UsageError if the program of `bundle` is none that a session can run."""
    if bundle.manifest.get("program_format", "executorch") != "executorch":
        raise UsageError(
            f"`{bundle.path}` holds a TorchScript program, which spartanc's runtime doesn't run",
            hint="load it with torch.jit.load, or compile with `--format executorch`",
        )
