"""A program's first opening, in a process apart.

ExecuTorch checks a program before it runs it, but not to the last byte: one that was made to do harm can end the
process that loads it. So before this process loads a program that it has not seen, another one does.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from spartanc.errors import MissingToolError, UsageError
from spartanc.runtime_py.bundle import MANIFEST, Bundle
from spartanc.runtime_py.verified import Record

COMMAND = "spartan"
TRIAL_SECONDS = 120


def try_apart(bundle: Bundle, command: Path) -> None:
    """Load the program of `bundle` with the `spartan` at `command`; UsageError where it does not survive that.

    A program that did before is not tried again: see `spartanc.runtime_py.verified`.
    """
    if not command.is_file():
        raise MissingToolError(f"`{command}` is missing: a program is tried with it before it is loaded here")
    record = Record(bundle.path, (MANIFEST, bundle.manifest["program"]), kind=".trial")
    if record.holds():
        return
    where = f"the program of bundle `{bundle.path}`"
    try:
        done = subprocess.run(
            [str(command), "info", str(bundle.program)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TRIAL_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise UsageError(f"{where} did not load within {TRIAL_SECONDS} s; it was not loaded here") from error
    except OSError as error:
        raise MissingToolError(f"`{command}` can't be run: {error.strerror}") from error
    if done.returncode != 0:
        said = done.stderr.strip().removeprefix("error: ") or f"it ended with {done.returncode}"
        raise UsageError(f"{where} can't be loaded: {said}", hint="it was tried in a process apart")
    record.keep()
