"""What board_model.py needs besides spartanc: an aarch64 Python with numpy, ONNX Runtime and ncnn, in the cache.

Debian's arm64 packages come by apt with a state of its own, so that nothing of this machine's packages changes; apt
checks their signatures. The wheels are pinned and their hashes checked by pip. Nothing is installed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from spartanc.base.cache import cache_directory, locked
from spartanc.base.progress import stage
from spartanc.errors import MissingToolError
from spartanc.runtime_py.board_model.tools import missing_packages

WHEELS = {
    "onnxruntime==1.31.1": "da05378364c44d4407e463982d2bf8d5e4cfea873283757e48beeb41df97b7f3",
    "ncnn==1.0.20261020": "0503da4f3960ee2e555feef55db13adffd6c62eb59a4bd22f8083b12d1757ad8",
    "numpy==2.4.6": "0ab0a9c4ffb1a6d95ef519fe4247dba8eb6b18ad93999f76b7f657039acabd47",
}
# Python 3.11, whose wheels these are, with the libraries that it and the wheels load.
PACKAGES = (
    "python3.11-minimal",
    "libpython3.11-minimal",
    "libpython3.11-stdlib",
    "libc6",
    "libgcc-s1",
    "libstdc++6",
    "zlib1g",
    "libexpat1",
    "libffi8",
)
PYTHON = "usr/bin/python3.11"
SITE = "usr/lib/python3/site"
_VERSION = 1  # of what the folder holds
_TOOLS = {"apt-get": "apt", "dpkg-deb": "dpkg"}


def arm_root() -> Path:
    """Where the aarch64 files are once `set_up` has brought them."""
    return cache_directory() / f"board-model-{_VERSION}" / "root"


def require_arm_root() -> Path:
    """The folder; MissingToolError (exit 5) that names what is missing."""
    missing = missing_packages()
    if missing:
        raise MissingToolError(
            f"Debian packages are missing: {', '.join(missing)}", hint=f"apt-get install {' '.join(missing)}"
        )
    if not (arm_root() / PYTHON).is_file():
        raise MissingToolError(
            "ONNX Runtime and ncnn for aarch64 are not in the cache",
            hint="run `python benchmarks/board_model.py --setup` once; it downloads 50 MB",
        )
    return arm_root()


def set_up() -> Path:
    """Bring what is not there; MissingToolError where a Debian package is missing or a download fails."""
    missing = [package for tool, package in _TOOLS.items() if shutil.which(tool) is None] + missing_packages()
    if missing:
        raise MissingToolError(
            f"Debian packages are missing: {', '.join(missing)}", hint=f"apt-get install {' '.join(missing)}"
        )
    with locked("board-model") as cache:
        if (arm_root() / PYTHON).is_file():
            return arm_root()
        with tempfile.TemporaryDirectory(prefix="board-", dir=cache) as scratch:
            root = Path(scratch) / "made" / "root"
            root.mkdir(parents=True)
            with stage("Debian's Python for arm64"):
                for package in _download_packages(Path(scratch)):
                    _must("dpkg-deb", "--extract", package, root)
            with stage("wheels for aarch64"):
                for wheel in _download_wheels(Path(scratch)):
                    with zipfile.ZipFile(wheel) as archive:
                        archive.extractall(root / SITE)
            arm_root().parent.parent.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(arm_root().parent, ignore_errors=True)
            os.rename(root.parent, arm_root().parent)
    return arm_root()


def _download_packages(scratch: Path) -> list[Path]:
    for folder in ("state/lists/partial", "cache/archives/partial", "debs"):
        (scratch / folder).mkdir(parents=True)
    (scratch / "status").touch()
    settings = {
        "APT::Architecture": "arm64",
        "APT::Architectures": "arm64",
        "APT::Sandbox::User": "",  # the scratch folder is ours alone
        "Dir::State": scratch / "state",
        "Dir::State::status": scratch / "status",
        "Dir::Cache": scratch / "cache",
    }
    apt = ["apt-get", "-qq", *(word for name, value in settings.items() for word in ("-o", f"{name}={value}"))]
    _must(*apt, "update")
    _must(*apt, "download", *PACKAGES, cwd=scratch / "debs")
    found = sorted((scratch / "debs").glob("*.deb"))
    if len(found) != len(PACKAGES):
        raise MissingToolError(f"apt brought {len(found)} of {len(PACKAGES)} packages for arm64")
    return found


def _download_wheels(scratch: Path) -> list[Path]:
    (scratch / "wheels").mkdir()
    wanted = scratch / "requirements.txt"
    wanted.write_text("".join(f"{name} --hash=sha256:{digest}\n" for name, digest in WHEELS.items()))
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--require-hashes"]
    tags = [f"--platform=manylinux_2_{minor}_aarch64" for minor in (28, 27, 24, 17)]
    tags += ["--python-version=3.11", "--implementation=cp", "--abi=cp311"]
    _must(*pip, *tags, "--requirement", wanted, "--dest", scratch / "wheels")
    return sorted((scratch / "wheels").glob("*.whl"))


def _must(*command: str | Path, cwd: Path | None = None) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "PIP_CONSTRAINT"}
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, cwd=cwd, env=environment)
    if done.returncode != 0:
        said = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        raise MissingToolError(
            f"`{command[0]}` failed: {said[-1] if said else 'it said nothing'}",
            hint="the packages are Debian 12's; check that apt and pip reach their indexes",
        )
