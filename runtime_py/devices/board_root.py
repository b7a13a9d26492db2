"""The file system that an emulated board's programs see: the cross C library, and that board's /proc and /sys.

Without it qemu-user shows programs the files of the machine it runs on. Libraries that choose kernels by them then
take every Arm core for an unknown one, so that what runs is not what the board would run.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from spartanc.base.cache import cache_directory, locked
from spartanc.base.files import whole_folder
from spartanc.base.targets.cpuinfo import board_files
from spartanc.base.targets.target import Target
from spartanc.base.toolchain import AARCH64


def board_root(target: Target, libraries: Path = AARCH64.sysroot) -> Path:
    """A folder for qemu's `-L`, in the cache: links to what `libraries` holds beside the target's own files.

    A target that says nothing of its core gets `libraries` itself. Raises MissingToolError where the cache can't be
    written.
    """
    if target.core is None:
        return libraries
    files = board_files(target.core, target.cores, target.clock_mhz)
    links = sorted(each.name for each in libraries.iterdir() if each.name not in ("proc", "sys"))
    said = repr((sorted(files.items()), str(libraries), links))
    root = cache_directory() / "boards" / f"{target.name}-{hashlib.sha256(said.encode()).hexdigest()[:16]}"
    if root.is_dir():
        return root
    with locked("boards"):
        if not root.is_dir():
            with whole_folder(root) as made:
                _fill(made, files, {name: libraries / name for name in links})
    return root


def _fill(root: Path, files: dict[str, str], links: dict[str, Path]) -> None:
    for path, text in files.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    for name, there in links.items():
        (root / name).symlink_to(there)
