"""A whole emulated board: QEMU's `virt` machine with four Cortex-A72, reached by ssh through one port of loopback.

`restrict=on`: the board reaches nothing, and nothing but the forwarded port reaches it. `cut` takes its power away: the
disk keeps what the board's kernel had handed over, and no more.
"""

from __future__ import annotations

import socket
import subprocess
import tarfile
import time
from pathlib import Path

from board_image import Image

_BOOT_SECONDS = 240
_OPTIONS = ("-nographic", "-nodefaults", "-no-reboot", "-M", "virt", "-cpu", "cortex-a72", "-smp", "4")


class Board:
    """One board with a disk of its own in `folder`; `boot` it, and `cut` it at the end."""

    def __init__(self, image: Image, folder: Path, memory_mb: int = 1024, init: str | None = None):
        """init: what starts first, in place of the image's script that starts sshd alone."""
        self._image = image
        self._words = "" if init is None else f" board.init={init}"
        self._folder = folder
        self._memory_mb = memory_mb
        self._process: subprocess.Popen[bytes] | None = None
        self.port = _free_port()
        subprocess.run(["cp", "--sparse=always", str(image.disk), str(folder / "disk.img")], check=True)
        host_key = " ".join(image.host_key.read_text().split()[:2])
        (folder / "known_hosts").write_text(f"[127.0.0.1]:{self.port} {host_key}\n")
        (folder / "ssh_config").write_text(
            f"""IdentityFile {image.key}
IdentitiesOnly yes
UserKnownHostsFile {folder}/known_hosts
StrictHostKeyChecking yes
BatchMode yes
LogLevel ERROR
"""
        )

    @property
    def device(self) -> str:
        return f"ssh://root@127.0.0.1:{self.port}"

    @property
    def ssh_command(self) -> str:
        """For SPARTANC_SSH_COMMAND."""
        return f"ssh -F {self._folder}/ssh_config"

    @property
    def is_on(self) -> bool:
        return self._process is not None

    def boot(self) -> float:
        """Start it and wait until it answers; returns the seconds that took."""
        assert not self.is_on
        image, console = self._image, self._folder / "console.log"
        forward = f"user,id=n,hostfwd=tcp:127.0.0.1:{self.port}-:22,restrict=on"
        command = ["qemu-system-aarch64", *_OPTIONS, "-m", str(self._memory_mb), "-serial", f"file:{console}"]
        command += ["-kernel", str(image.kernel), "-initrd", str(image.initramfs)]
        command += ["-append", f"console=ttyAMA0 net.ifnames=0 quiet{self._words}"]
        command += ["-drive", f"file={self._folder}/disk.img,if=none,id=d,format=raw,cache=writeback"]
        command += ["-device", "virtio-blk-pci,drive=d", "-netdev", forward]
        command += ["-device", "virtio-net-pci,netdev=n,romfile=", "-device", "virtio-rng-pci"]
        started = time.monotonic()
        with (self._folder / "qemu.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        while time.monotonic() - started < _BOOT_SECONDS:
            assert self._process.poll() is None, f"qemu ended: {(self._folder / 'qemu.log').read_text()[-2000:]}"
            if self._try("true", 10).returncode == 0:
                return time.monotonic() - started
            time.sleep(0.2)
        self.cut()
        raise AssertionError(f"no answer in {_BOOT_SECONDS} s:\n{console.read_text(errors='replace')[-3000:]}")

    def run(self, script: str, seconds: int = 120) -> str:
        """What a shell script on the board prints; AssertionError where it fails, or takes longer than `seconds`."""
        done = self._try(script, seconds)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def send_folder(self, local: Path, remote: str) -> None:
        """As scp does: nothing is synced."""
        script = f"rm -rf {remote} && mkdir -p {remote} && tar -x -C {remote}"
        words = [*self.ssh_command.split(), "-p", str(self.port), "root@127.0.0.1", script]
        with subprocess.Popen(words, stdin=subprocess.PIPE) as process:
            assert process.stdin is not None
            with tarfile.open(fileobj=process.stdin, mode="w|") as archive:
                archive.add(local, arcname=".")
            process.stdin.close()
        assert process.returncode == 0

    def cut(self) -> None:
        """Take the power away."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _try(self, script: str, seconds: int) -> subprocess.CompletedProcess[str]:
        host = ["-o", "ConnectTimeout=5", "-p", str(self.port), "root@127.0.0.1", script]
        try:
            command = [*self.ssh_command.split(), *host]
            return subprocess.run(command, capture_output=True, text=True, timeout=seconds, stdin=subprocess.DEVNULL)
        except subprocess.TimeoutExpired:
            return subprocess.CompletedProcess(host, 255, "", f"no answer within {seconds} s")


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
