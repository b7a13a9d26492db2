"""The first root file system of the emulated board: a static busybox, the drivers of QEMU's devices, and a script.

Debian's cloud kernel has ext4 built in and virtio as modules. No tool of the host is needed for the archive.
"""

from __future__ import annotations

import gzip
from pathlib import Path

MODULES = (
    "virtio",
    "virtio_ring",
    "virtio_pci_modern_dev",
    "virtio_pci_legacy_dev",
    "virtio_pci",
    "virtio_blk",
    "failover",
    "net_failover",
    "virtio_net",
    "rng-core",
    "virtio-rng",
)
_INIT = """#!/bin/sh
B=/bin/busybox
$B mount -t proc proc /proc; $B mount -t sysfs sys /sys; $B mount -t devtmpfs dev /dev
for m in {modules}; do [ ! -f /m/$m.ko ] || $B insmod /m/$m.ko; done
i=0; while [ ! -b /dev/vda ] && [ $i -lt 100 ]; do $B sleep 0.1; i=$((i+1)); done
$B ifconfig lo 127.0.0.1 up; $B ifconfig eth0 10.0.2.15 netmask 255.255.255.0 up; $B route add default gw 10.0.2.2
$B mount -t ext4 /dev/vda /new || exec $B sh
$B mount -o move /dev /new/dev; $B mount -o move /sys /new/sys; $B mount -o move /proc /new/proc
init=/sbin/board-init
for word in $($B cat /new/proc/cmdline); do case $word in board.init=*) init=${{word#*=}};; esac; done
exec $B switch_root /new $init
"""
_FOLDER, _FILE, _LINK = 0o040755, 0o100755, 0o120777


def write_initramfs(path: Path, busybox: Path, modules: Path) -> None:
    """Write the archive to `path`. modules: the folder of the kernel's, as its package has it. Raises OSError."""
    found = {file.stem: file for file in modules.rglob("*.ko")}
    entries = [(folder, _FOLDER, b"") for folder in ("bin", "m", "proc", "sys", "dev", "new")]
    entries += [("bin/busybox", _FILE, busybox.read_bytes()), ("bin/sh", _LINK, b"busybox")]
    # What is no module is built in.
    entries += [(f"m/{name}.ko", _FILE, found[name].read_bytes()) for name in MODULES if name in found]
    entries.append(("init", _FILE, _INIT.format(modules=" ".join(MODULES)).encode()))
    path.write_bytes(gzip.compress(_cpio(entries), mtime=0))


def _cpio(entries: list[tuple[str, int, bytes]]) -> bytes:
    """The format `newc`, see the kernel's Documentation/driver-api/early-userspace/buffer-format.rst."""
    archive = bytearray()
    for number, (name, mode, data) in enumerate([*entries, ("TRAILER!!!", 0, b"")], start=1):
        fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
        archive += b"070701" + b"".join(b"%08X" % field for field in fields)
        for part in (name.encode() + b"\0", data):
            archive += part
            archive += b"\0" * (-len(archive) % 4)
    return bytes(archive)
