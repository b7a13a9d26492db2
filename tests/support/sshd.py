"""A real sshd on loopback, with its own keys and a home folder of its own, for the length of a test."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


@dataclass
class Server:
    port: int
    home: Path
    ssh_command: str
    process: subprocess.Popen

    @property
    def device(self) -> str:
        return f"ssh://127.0.0.1:{self.port}"

    def sessions(self) -> list[int]:
        """Process ids of sshd's children: the connections."""
        return _children(self.process.pid)

    def drop_connections(self) -> None:
        for pid in self.sessions():
            for child in [*_children(pid), pid]:
                with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it may end by itself at any moment
                    if Path(f"/proc/{child}/comm").read_text().strip().startswith("sshd"):
                        os.kill(child, 9)

    def programs(self) -> list[int]:
        """Process ids of what runs out of this server's home."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                if str(self.home) in os.readlink(entry / "exe"):
                    found.append(int(entry.name))
            except OSError:
                continue
        return found


@contextmanager
def sshd(folder: Path, home: Path) -> Iterator[Server]:
    """Start it with all its files in `folder`; its sessions see `home` as their home."""
    assert SSHD is not None
    for name in ("host_key", "client_key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    forced = folder / "forced"
    forced.write_text(f'#!/bin/sh\nHOME={home}; export HOME; cd\nexec sh -c "$SSH_ORIGINAL_COMMAND"\n')
    forced.chmod(0o755)
    (folder / "sshd_config").write_text(
        f"""Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/client_key.pub
PidFile none
StrictModes no
UsePAM no
PermitRootLogin yes
PasswordAuthentication no
KbdInteractiveAuthentication no
ForceCommand {forced}
"""
    )
    host_key = (folder / "host_key.pub").read_text().split()[:2]
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {' '.join(host_key)}\n")
    (folder / "ssh_config").write_text(
        f"""IdentityFile {folder}/client_key
IdentitiesOnly yes
UserKnownHostsFile {folder}/known_hosts
StrictHostKeyChecking yes
"""
    )
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd as root refuses to start without it
    process = subprocess.Popen(
        [SSHD, "-D", "-e", "-f", str(folder / "sshd_config")], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    server = Server(port, home, f"ssh -F {folder}/ssh_config", process)
    try:
        _wait_for(server)
        yield server
    finally:
        server.drop_connections()
        process.terminate()
        process.wait(timeout=10)
        if process.stderr is not None:
            process.stderr.close()


def _wait_for(server: Server) -> None:
    for _ in range(100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", server.port)) == 0:
                return
        if server.process.poll() is not None:
            break
        time.sleep(0.1)
    assert server.process.stderr is not None
    server.process.kill()
    raise AssertionError(f"sshd did not start: {server.process.stderr.read().decode()}")


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
