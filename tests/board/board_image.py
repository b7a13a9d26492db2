"""The emulated board's disk, made once from Debian's packages and kept in the user's cache.

debootstrap fetches the packages and checks them against Debian's signed lists; they are unpacked, not installed, so
that nothing of the other processor runs, nothing is mounted and no package's script is executed. What such scripts
would have made and the board needs is written here.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path

from board_initramfs import write_initramfs

from spartanc.base.cache import cache_directory, locked
from spartanc.base.files import file_digest, put_in_place
from spartanc.base.packages import download

RELEASE = "bookworm"
KERNEL = "linux-image-cloud-arm64"
PACKAGES = (
    "openssh-server",
    "busybox-static",
    "systemd",
    "python3",
    "python3-numpy",
    "python3-cryptography",
    "python3-cffi-backend",
    KERNEL,
)
TOKENIZERS = ("tokenizers==0.23.3", "ec82e80e65a862275b97c3d90b7a523df8d9519ee48aeb4e9625b2cc909274e0")
SIZE = "1500M"  # of the disk; the file is sparse
TOOLS = {
    "qemu-system-aarch64": "qemu-system-arm",
    "debootstrap": "debootstrap",
    "dpkg-deb": "dpkg",
    "mke2fs": "e2fsprogs",
    "ssh-keygen": "openssh-client",
    "ssh": "openssh-client",
}
_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
_ROUND = 3  # one more makes every cached image anew
_START = """#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts; mount -t tmpfs shm /dev/shm; mount -t tmpfs run /run
mkdir -p /run/sshd
/usr/sbin/sshd -D &
while :; do wait; sleep 1000 & wait; done
"""
_SSHD = """HostKey /etc/ssh/ssh_host_ed25519_key
AuthorizedKeysFile .ssh/authorized_keys
UsePAM no
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
"""


@dataclass(frozen=True)
class Image:
    """Files of a board: `disk` is to be copied, never written. key: of root's ssh. host_key: the board's, public."""

    folder: Path

    @property
    def disk(self) -> Path:
        return self.folder / "disk.img"

    @property
    def kernel(self) -> Path:
        return self.folder / "vmlinuz"

    @property
    def initramfs(self) -> Path:
        return self.folder / "initramfs.gz"

    @property
    def key(self) -> Path:
        return self.folder / "key"

    @property
    def host_key(self) -> Path:
        return self.folder / "host_key.pub"


def what_is_missing() -> str | None:
    """Why no board can be made here, in a sentence; None if one can."""
    absent = [tool for tool in TOOLS if shutil.which(tool, path=_PATH) is None]
    if absent:
        packages = " ".join(sorted({TOOLS[tool] for tool in absent}))
        return f"{', '.join(absent)} missing here: apt-get install {packages} (`make test-board` does)"
    if os.geteuid() != 0:
        return "debootstrap needs root: run `make test-board` as root"
    return None


def board_image() -> Image:
    """The image in the cache, made if it is not there or not what was made; needs `what_is_missing() is None`."""
    folder = cache_directory() / "test-board" / f"{RELEASE}-{_ROUND}"
    with locked("test-board"):
        if not _is_whole(folder):
            with tempfile.TemporaryDirectory(prefix="test-board-", dir=cache_directory()) as scratch:
                _make(Path(scratch))
                shutil.rmtree(folder, ignore_errors=True)
                folder.parent.mkdir(exist_ok=True)
                put_in_place(Path(scratch) / "image", folder)
    return Image(folder)


def _is_whole(folder: Path) -> bool:
    try:
        digests = json.loads((folder / "digests.json").read_text())
        return all(file_digest(folder / name) == digest for name, digest in digests.items())
    except (OSError, ValueError):
        return False


def _make(scratch: Path) -> None:
    started = time.monotonic()

    def say(what: str) -> None:
        print(f"{time.monotonic() - started:5.0f} s  {what}", file=sys.stderr, flush=True)

    packages, root, image = scratch / "packages", scratch / "root", scratch / "image"
    image.mkdir()
    say("fetching Debian's packages")
    wanted = ["--arch=arm64", "--variant=minbase", f"--include={','.join(PACKAGES)}", RELEASE, str(packages)]
    _run("debootstrap", "--download-only", *wanted)
    say("unpacking them")
    _unpack(packages / "var/cache/apt/archives", root)
    _add_tokenizers(scratch, root)
    say("writing the disk")
    _set_up(root, image)
    modules = next((root / "usr/lib/modules").iterdir())
    shutil.copyfile(next((root / "boot").glob("vmlinuz-*")), image / "vmlinuz")
    write_initramfs(image / "initramfs.gz", root / "usr/bin/busybox", modules)
    shutil.rmtree(root / "boot")
    shutil.rmtree(modules)
    _run("mke2fs", "-q", "-t", "ext4", "-L", "board", "-d", str(root), str(image / "disk.img"), SIZE)
    files = sorted(file for file in image.iterdir() if file.is_file())
    (image / "digests.json").write_text(json.dumps({file.name: file_digest(file) for file in files}))
    say("the board's disk is in the cache")


def _unpack(archives: Path, root: Path) -> None:
    root.mkdir()
    for name in ("bin", "sbin", "lib"):
        (root / "usr" / name).mkdir(parents=True)
        (root / name).symlink_to(f"usr/{name}")
    for package in sorted(archives.glob("*.deb")):
        script = 'dpkg-deb --fsys-tarfile "$1" | tar -x -f - -C "$2" --keep-directory-symlink'
        _run("sh", "-c", script, "sh", str(package), str(root))


def _add_tokenizers(scratch: Path, root: Path) -> None:
    """As `pip install tokenizers` on the board would."""
    requirement, digest = TOKENIZERS
    options = ("--platform", "manylinux2014_aarch64", "--python-version", "311")
    folder = scratch / "wheel"
    folder.mkdir()
    wheel = download(requirement, digest, folder, what="tokenizers for aarch64", hint="try again", options=options)
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(root / "usr/lib/python3/dist-packages")


def _set_up(root: Path, image: Path) -> None:
    """What the packages' scripts would have made: users, a shell, keys; and what starts first."""
    shutil.copyfile(root / "usr/share/base-passwd/passwd.master", root / "etc/passwd")
    shutil.copyfile(root / "usr/share/base-passwd/group.master", root / "etc/group")
    with (root / "etc/passwd").open("a") as users:
        users.write("sshd:*:100:65534::/run/sshd:/usr/sbin/nologin\n")
    if not os.path.lexists(root / "usr/bin/sh"):
        (root / "usr/bin/sh").symlink_to("dash")
    libraries = root / "usr/lib/aarch64-linux-gnu"
    for name in ("blas", "lapack"):  # what Debian's numpy loads
        (libraries / f"lib{name}.so.3").symlink_to(f"{name}/lib{name}.so.3")
    for key, comment in (("key", "tests"), ("host_key", "board")):
        _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(image / key))
    (root / "etc/ssh").mkdir(exist_ok=True)
    (root / "etc/ssh/sshd_config").write_text(_SSHD)
    shutil.copyfile(image / "host_key", root / "etc/ssh/ssh_host_ed25519_key")
    (root / "etc/ssh/ssh_host_ed25519_key").chmod(0o600)
    (root / "root/.ssh").mkdir(mode=0o700, parents=True)
    shutil.copyfile(image / "key.pub", root / "root/.ssh/authorized_keys")
    start = root / "sbin/board-init"
    start.write_text(_START)
    start.chmod(0o755)
    # Of systemd, for boards that start with it: an identity, so that nothing counts as the first start, and sshd.
    (root / "etc/machine-id").write_text("5ba27a0b0a2d4c8e9f00000000000000\n")
    wanted = root / "etc/systemd/system/multi-user.target.wants"
    wanted.mkdir(parents=True, exist_ok=True)
    (wanted / "ssh.service").symlink_to("/lib/systemd/system/ssh.service")
    for folder in ("proc", "sys", "dev", "run", "tmp"):
        (root / folder).mkdir(exist_ok=True)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PATH": _PATH})
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(command[:3])} … failed:\n{(done.stdout + done.stderr)[-3000:]}")
