"""A Debian 12 root file system for aarch64, unpacked from Debian's own packages, and programs run in it by qemu."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from spartanc.base.cache import cache_directory

QEMU = shutil.which("qemu-aarch64-static")
TOOLS = ("debootstrap", "dpkg-deb", "unshare", "chroot")
READY = QEMU is not None and os.geteuid() == 0 and all(map(shutil.which, TOOLS))
# Whether a program that runs in `root` can start another: the kernel has to hand it to qemu.
CAN_START_PROGRAMS = Path("/proc/sys/fs/binfmt_misc/qemu-aarch64").exists()
PACKAGES = "python3"
WHEELS_FOLDER = "usr/local/wheels"  # below the root
WHEELS = ("numpy>=2", "tokenizers>=0.22")


def root_file_system() -> Path:
    """Made once and kept in the cache: Debian's minimal system with python3, and `WHEELS` in a folder of their own."""
    root = cache_directory() / "test-root-aarch64"
    root.parent.mkdir(parents=True, exist_ok=True)
    with (root.parent / "test-root-aarch64.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (root / WHEELS_FOLDER / "numpy").is_dir():
            with tempfile.TemporaryDirectory(prefix="root-", dir=root.parent) as scratch:
                _make(Path(scratch))
                shutil.rmtree(root, ignore_errors=True)
                os.rename(Path(scratch) / "root", root)
    return root


def run_in_root(root: Path, cpu: str, *command: str) -> subprocess.CompletedProcess[str]:
    """Run an aarch64 program in `root`, in mounts of its own that end with it."""
    assert QEMU is not None
    shutil.copy2(QEMU, root / "qemu")
    script = (
        'mount -t proc proc "$1/proc" && mount --rbind /sys "$1/sys" && mount --rbind /dev "$1/dev"'
        ' && root=$1 && shift && exec chroot "$root" /qemu "$@"'
    )
    words = ["unshare", "--mount", "sh", "-c", script, "sh", str(root), "-cpu", cpu, *command]
    return subprocess.run(words, capture_output=True, text=True, stdin=subprocess.DEVNULL)


def _make(scratch: Path) -> None:
    download = scratch / "download"
    common = ["--arch=arm64", "--variant=minbase", f"--include={PACKAGES}", "bookworm", str(download)]
    _run("debootstrap", "--download-only", *common)
    root = scratch / "root"
    root.mkdir()
    for package in sorted((download / "var/cache/apt/archives").glob("*.deb")):
        _run("dpkg-deb", "--extract", str(package), str(root))
    for folder in ("proc", "sys", "dev", "tmp", WHEELS_FOLDER):
        (root / folder).mkdir(parents=True, exist_ok=True)
    tags = [
        "--platform=manylinux_2_28_aarch64",
        "--platform=manylinux2014_aarch64",
        "--platform=manylinux_2_17_aarch64",
    ]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--only-binary=:all:", *tags]
    target = ["--python-version=3.11", "--implementation=cp", "--target", str(root / WHEELS_FOLDER)]
    _run(*pip, *target, *WHEELS)
    shutil.rmtree(download)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
