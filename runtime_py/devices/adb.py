"""A phone through the `adb` program: `adb` or `adb:SERIAL`.

A phone's C library is bionic, and the runtime is built for glibc, so glibc's own loader and libraries go along (those
of Debian's cross compiler) and the program is started through that loader.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from spartanc.base.toolchain import AARCH64, Program
from spartanc.errors import MissingToolError
from spartanc.runtime_py.devices.device import DeviceError, DeviceKind, Finished
from spartanc.runtime_py.devices.remote import RemoteDevice
from spartanc.runtime_py.devices.wire import Wire

_PROGRAM = Program("adb", "adb", "adb", "reaches phones")
_C_LIBRARIES = (
    AARCH64.loader,
    "libc.so.6",
    "libm.so.6",
    "libdl.so.2",
    "libpthread.so.0",
    "librt.so.1",
    "libgcc_s.so.1",
    "libstdc++.so.6",
)
# How adb ends, and what it says, where it did not get through. What `spartan` says may hold any of these words, as in a
# bundle's name, but never begins with them.
_LOST = (1, 255)
_UNREACHABLE = re.compile(
    r"^(?:adb|error): (?:(?:error|failed to [a-z ]+|connect failed): )*"
    r"(?:no devices|more than one device|closed|cannot connect|insufficient permissions|protocol fault"
    r"|device (?:'[^']*' )?(?:not found|offline|unauthorized|still )).*",
    re.MULTILINE,
)


class AdbWire(Wire):
    base = "/data/local/tmp/spartanc-device"

    def __init__(self, name: str, serial: str | None):
        self.name = name
        program = shutil.which("adb")
        if program is None:
            raise MissingToolError("`adb` is missing", hint=_PROGRAM.hint)
        self._adb = [program, "-s", serial] if serial else [program]

    def shell(self, script: str) -> Finished:
        return self._run("shell", script)

    def run(self, script: str) -> Finished:
        # adbd ends what it started when the connection goes.
        return self._run("shell", script)

    def send(self, files: dict[str, Path], folder: str) -> None:
        for name, path in files.items():
            done = self._run("push", str(path), f"{folder}/{name}")
            if done.code != 0:
                full = "the device's disk is full: " if "No space left" in done.stderr + done.stdout else ""
                raise DeviceError(f"device `{self.name}`: {full}`{path.name}` did not arrive: {done.stderr.strip()}")

    def fetch(self, remote: str, local: Path) -> None:
        done = self._run("pull", remote, str(local))
        if done.code != 0 or not local.is_file():
            raise DeviceError(f"device `{self.name}`: a result could not be read: {done.stderr.strip()}")

    def _run(self, *arguments: str) -> Finished:
        done = subprocess.run([*self._adb, *arguments], stdin=subprocess.DEVNULL, capture_output=True)
        stderr = done.stderr.decode(errors="replace")
        lost = _UNREACHABLE.search(stderr) if done.returncode in _LOST else None
        if lost is not None:
            raise DeviceError(f"device `{self.name}` can't be reached: {lost[0]}", hint="see `adb devices`")
        return Finished(done.returncode, done.stdout.decode(errors="replace"), stderr)


class AdbDevice(RemoteDevice):
    def __init__(self, name: str):
        self.name = name
        self._serial = name.partition(":")[2] or None

    def wire(self) -> Wire:
        return AdbWire(self.name, self._serial)

    def loader(self, machine: str) -> tuple[dict[str, Path], list[str]]:
        if machine != AARCH64.architecture:
            return {}, []
        files = {name: AARCH64.sysroot / "lib" / name for name in _C_LIBRARIES}
        missing = [name for name, path in files.items() if not path.exists()]
        if missing:
            raise MissingToolError(
                f"`{missing[0]}` for aarch64 is missing in `{AARCH64.sysroot}`",
                hint=AARCH64.compiler.hint,
            )
        return files, [f"{{runtime}}/{AARCH64.loader}", "--library-path", "{runtime}"]


KIND = DeviceKind("adb[:serial]", (_PROGRAM,), lambda name, target: AdbDevice(name))
