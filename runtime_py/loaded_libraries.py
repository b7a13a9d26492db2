"""ExecuTorch's libraries that this process has loaded already, by executorch's Python package or by another bundle.

The loader knows a library by its name: whoever comes second gets the copy of whoever came first, so there is one
registry of operators and one thread pool, and both sides work. That holds only while both are of one build.
"""

from __future__ import annotations

import filecmp
from pathlib import Path

from spartanc.errors import UsageError

_MAPS = Path("/proc/self/maps")
_CORE = "libexecutorch.so"  # every other library of ExecuTorch needs it


def require_same_executorch(library: Path) -> None:
    """Raise UsageError if this process has loaded another ExecuTorch than the one beside the native `library`.

    A library without one beside it was built on this machine against the installed package, and finds that.
    """
    own, loaded = library.parent / _CORE, loaded_executorch()
    if loaded is None or not own.is_file() or own.samefile(loaded):
        return
    if not filecmp.cmp(own, loaded, shallow=False):
        raise UsageError(
            f"this process has loaded `{loaded}`, which is not the version of ExecuTorch that `{own}` is",
            hint="load the bundle in a process of its own, for example by `spartanc run`",
        )


def loaded_executorch() -> Path | None:
    """The file of ExecuTorch's core library in this process; None if there is none, or no /proc to tell."""
    try:
        lines = _MAPS.read_text(errors="replace").splitlines()
    except OSError:
        return None
    for line in lines:
        path = Path(line.split(maxsplit=5)[-1])
        if path.name == _CORE and path.is_file():
            return path
    return None
