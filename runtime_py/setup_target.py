"""`spartanc setup TARGET`: brings what a target needs into the cache. No other command downloads anything.

Boards need ExecuTorch's libraries for their architecture. They are in the wheel of the very version that is
installed here; one of its builds serves, whatever Python runs spartanc, since only headers and libraries are
taken.
"""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path, PurePosixPath
from typing import Any

from spartanc.base.cache import cache_directory, locked
from spartanc.base.files import put_in_place
from spartanc.base.packages import download
from spartanc.base.targets.catalogue import find_target
from spartanc.base.targets.target import Target
from spartanc.base.toolchain import HOST_COMPILER, Toolchain
from spartanc.errors import MissingToolError

EXECUTORCH_VERSION = "1.5.1"
_WANTED_FOLDERS = ("lib", "include", "share")


def setup_target(name: str) -> dict[str, Any]:
    """Make target `name` ready to compile for.

    Returns target, ready, downloaded (bytes) and the directory of its ExecuTorch package (None where none is
    needed). Raises UnknownTarget; MissingToolError (exit 5) where a compiler is missing or the download
    fails.
    """
    target = find_target(name)
    downloaded = 0
    package: Path | None = None
    if target.toolchain is not None and target.has_native_runtime:
        package = executorch_package(target.toolchain)
        if not _is_unpacked(package):
            downloaded = _bring_package(target.toolchain, package)
    missing = _missing_tool(target)
    if missing is not None:
        raise missing
    return {
        "target": name,
        "ready": True,
        "downloaded": downloaded,
        "package": str(package) if package else None,
    }


def is_ready(name: str) -> bool:
    """Whether `spartanc compile --target name` has all it needs."""
    target = find_target(name)
    if not target.has_native_runtime:
        return True
    unpacked = target.toolchain is None or _is_unpacked(executorch_package(target.toolchain))
    return unpacked and _missing_tool(target) is None


def executorch_package(toolchain: Toolchain) -> Path:
    """Where ExecuTorch for an architecture lives once `setup` has brought it."""
    return cache_directory() / f"executorch-{EXECUTORCH_VERSION}-{toolchain.architecture}" / "executorch"


def require_executorch(target: Target, toolchain: Toolchain) -> Path:
    """The unpacked package; MissingToolError naming `spartanc setup` where it is not there."""
    _check_installed_version()
    package = executorch_package(toolchain)
    if not _is_unpacked(package):
        raise MissingToolError(
            f"target `{target.name}` needs ExecuTorch {EXECUTORCH_VERSION} for {toolchain.architecture}, which is not"
            " in the cache",
            hint=f"run `spartanc setup {target.name}` once; it downloads {toolchain.wheel.megabytes} MB",
        )
    return package


def require_compiler(toolchain: Toolchain | None = None) -> str:
    """The C++ compiler of an architecture, this machine's without one; MissingToolError naming its package."""
    name, package = _compiler(toolchain)
    found = shutil.which(name)
    if found is None:
        raise _missing_compiler(name, package)
    return found


def _compiler(toolchain: Toolchain | None) -> tuple[str, str]:
    """Its name and Debian's package."""
    if toolchain is None:
        return os.environ.get("CXX") or HOST_COMPILER.name, HOST_COMPILER.package
    return toolchain.compiler.name, toolchain.compiler.package


def _missing_compiler(name: str, package: str) -> MissingToolError:
    return MissingToolError(f"the C++ compiler `{name}` is missing", hint=f"apt-get install {package}")


def _missing_tool(target: Target) -> MissingToolError | None:
    name, package = _compiler(target.toolchain)
    if target.has_native_runtime and shutil.which(name) is None:
        return _missing_compiler(name, package)
    return None


def _is_unpacked(package: Path) -> bool:
    return (package / "lib" / "libexecutorch.so").is_file()


def _check_installed_version() -> None:
    try:
        installed = importlib.metadata.version("executorch")
    except importlib.metadata.PackageNotFoundError:
        raise MissingToolError("executorch is not installed", hint="pip install spartanc") from None
    if installed.split("+")[0] != EXECUTORCH_VERSION:
        raise MissingToolError(
            f"executorch `{installed}` is installed, spartanc builds for `{EXECUTORCH_VERSION}`",
            hint=f"pip install executorch=={EXECUTORCH_VERSION}",
        )


def _bring_package(toolchain: Toolchain, package: Path) -> int:
    architecture = toolchain.architecture
    with locked("setup") as cache:
        if _is_unpacked(package):
            return 0
        size = toolchain.wheel.megabytes
        print(
            f"downloading ExecuTorch {EXECUTORCH_VERSION} for {architecture} ({size} MB)", file=sys.stderr, flush=True
        )
        with tempfile.TemporaryDirectory(prefix="setup-", dir=cache) as scratch:
            wheel = download(
                f"executorch=={EXECUTORCH_VERSION}",
                toolchain.wheel.sha256,
                Path(scratch),
                what=f"ExecuTorch for {architecture}",
                hint="check that pip reaches its package index, then run `spartanc setup` again",
                options=toolchain.wheel.options,
            )
            unpacked = Path(scratch) / "unpacked"
            _unpack(wheel, unpacked)
            if package.parent.exists():
                shutil.rmtree(package.parent)
            put_in_place(unpacked, package.parent)
            return wheel.stat().st_size


def _unpack(wheel: Path, destination: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            parts = PurePosixPath(name).parts
            if len(parts) > 2 and parts[0] == "executorch" and parts[1] in _WANTED_FOLDERS and ".." not in parts:
                archive.extract(name, destination)
