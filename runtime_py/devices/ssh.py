"""A board over ssh, through the OpenSSH client: `ssh://user@host[:port]`.

Keys, jump hosts and the rest come from the user's own ssh configuration; `SPARTANC_SSH_COMMAND` replaces the command,
as in `SPARTANC_SSH_COMMAND="ssh -F board.conf"`. One connection is made and shared by all that a job does.
"""

from __future__ import annotations

import io
import os
import selectors
import shlex
import shutil
import subprocess
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

from spartanc.base.toolchain import Program
from spartanc.errors import MissingToolError, UsageError
from spartanc.runtime_py.devices.device import DeviceError, DeviceKind, Finished
from spartanc.runtime_py.devices.remote import RemoteDevice
from spartanc.runtime_py.devices.wire import Wire

_PROGRAM = Program("ssh", "openssh-client", "ssh", "reaches boards")
_LOST = 255  # ssh's own exit code
_OPTIONS = {
    "BatchMode": "yes",
    "ConnectTimeout": "10",
    "ServerAliveInterval": "5",
    "ServerAliveCountMax": "6",  # 30 s: a board that runs out of memory takes a while to end something
    "ControlMaster": "auto",
    "ControlPersist": "30",
}
# The program reads nothing, so our end of its standard input serves as a lifeline: when the connection is lost, the
# reader below sees its end and ends the program.
_WITH_LIFELINE = """exec 3<&0
{command} </dev/null 3<&- &
program=$!
( cat <&3 >/dev/null; kill "$program" ) >/dev/null 2>&1 &
lifeline=$!
exec 3<&-
wait "$program"
code=$?
kill "$lifeline" 2>/dev/null
exit $code
"""


class SshWire(Wire):
    base = "$HOME/.cache/spartanc-device"

    def __init__(self, name: str, host: str, user: str | None, port: int | None):
        self.name = name
        self._folder = TemporaryDirectory(prefix="spc-")  # a socket's path may have about 100 bytes
        command = shlex.split(os.environ.get("SPARTANC_SSH_COMMAND") or "ssh")
        if not command or shutil.which(command[0]) is None:
            raise MissingToolError(f"`{command[0] if command else ''}` is missing", hint=_PROGRAM.hint)
        self._ssh = [*command, "-T", "-o", f"ControlPath={self._folder.name}/%C"]
        for option, value in _OPTIONS.items():
            self._ssh += ["-o", f"{option}={value}"]
        self._ssh += ["-p", str(port)] if port else []
        self._host = f"{user}@{host}" if user else host

    def shell(self, script: str) -> Finished:
        return self._remote(script, b"")

    def run(self, script: str) -> Finished:
        command = [*self._ssh, self._host, _WITH_LIFELINE.format(command=script)]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            try:
                # communicate() would close the lifeline at once, so both ends are read while it stays open.
                stdout, stderr = _read_both(process)
            except BaseException:
                process.kill()
                raise
            code = process.wait()
        return self._finished(code, stdout, stderr)

    def send(self, files: dict[str, Path], folder: str) -> None:
        command = [*self._ssh, self._host, f'tar -x -f - -C "{folder}"']
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        ) as process:
            assert process.stdin is not None
            assert process.stderr is not None
            try:
                # A link is sent as what it leads to: on the board it would lead nowhere.
                with tarfile.open(fileobj=process.stdin, mode="w|", dereference=True) as archive:
                    for name, path in files.items():
                        archive.add(path, arcname=name)
                process.stdin.close()
            except BrokenPipeError:
                pass  # the other side says why
            said = process.stderr.read()
            code = process.wait()
        if code != 0:
            full = "the device's disk is full: " if b"No space left" in said else ""
            raise DeviceError(f"device `{self.name}`: {full}{_last_line(said) or 'the files did not arrive'}")

    def fetch(self, remote: str, local: Path) -> None:
        done = self._raw(f'cat "{remote}"', b"")
        if done.returncode != 0:
            raise DeviceError(f"device `{self.name}`: a result could not be read: {_last_line(done.stderr)}")
        local.write_bytes(done.stdout)

    def close(self) -> None:
        subprocess.run([*self._ssh, "-O", "exit", self._host], stdin=subprocess.DEVNULL, capture_output=True)
        self._folder.cleanup()

    def _remote(self, script: str, data: bytes) -> Finished:
        done = self._raw(script, data)
        return self._finished(done.returncode, done.stdout, done.stderr)

    def _raw(self, script: str, data: bytes) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run([*self._ssh, self._host, script], input=data, capture_output=True)

    def _finished(self, code: int, stdout: bytes, stderr: bytes) -> Finished:
        if code == _LOST:
            raise DeviceError(
                f"device `{self.name}` can't be reached, or the connection was lost:"
                f" {_last_line(stderr) or 'ssh said nothing'}",
                hint=f"try `ssh {self._host} true`",
            )
        return Finished(code, stdout.decode(errors="replace"), stderr.decode(errors="replace"))


class SshDevice(RemoteDevice):
    def __init__(self, name: str):
        parts = urlsplit(name)
        try:
            port = parts.port
        except ValueError:
            port = -1
        plain = parts.path in ("", "/") and not parts.query and not parts.fragment and parts.password is None
        # A host or user that starts with a dash would be an option of ssh.
        names = [text for text in (parts.hostname, parts.username) if text is not None]
        if parts.scheme != "ssh" or not parts.hostname or not plain or port == -1 or any(n[0] == "-" for n in names):
            raise UsageError(f"`{name}` is no device", hint="a board over ssh is `ssh://user@host[:port]`")
        self.name = name
        self._host, self._user, self._port = parts.hostname, parts.username, port

    def wire(self) -> Wire:
        return SshWire(self.name, self._host, self._user, self._port)


def _read_both(process: subprocess.Popen[bytes]) -> tuple[bytes, bytes]:
    assert process.stdout is not None
    assert process.stderr is not None
    collected = {process.stdout: io.BytesIO(), process.stderr: io.BytesIO()}
    with selectors.DefaultSelector() as selector:
        for stream in collected:
            selector.register(stream, selectors.EVENT_READ)
        while selector.get_map():
            for key, _ in selector.select():
                data = os.read(key.fd, 1 << 16)
                if data:
                    collected[key.fileobj].write(data)  # type: ignore[index]
                else:
                    selector.unregister(key.fileobj)
    return collected[process.stdout].getvalue(), collected[process.stderr].getvalue()


def _last_line(text: bytes) -> str:
    lines = [line.strip() for line in text.decode(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else ""


KIND = DeviceKind("ssh://user@host[:port]", (_PROGRAM,), lambda name, target: SshDevice(name))
