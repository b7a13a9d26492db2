"""This machine, in a process of its own."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from spartanc.runtime_py.build import COMMAND
from spartanc.runtime_py.devices.device import Device, DeviceKind, Finished, Place, device_errors
from spartanc.runtime_py.local_runtime import local_runtime


class ProcessPlace(Place):
    """Files stay where they are; `prefix` stands before the command."""

    def __init__(self, prefix: Sequence[str], scratch: Path):
        self._prefix = list(prefix)
        self._scratch = scratch

    def put(self, local: Path) -> str:
        return str(local)

    def new_path(self, name: str) -> str:
        return str(self._scratch / name)

    def get(self, remote: str, local: Path) -> None:
        shutil.copyfile(remote, local)

    def execute(self, arguments: Sequence[str]) -> Finished:
        done = subprocess.run(
            [*self._prefix, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
        )
        return Finished(done.returncode, done.stdout, done.stderr)


class LocalDevice(Device):
    """Runs any bundle's program, which is the same everywhere: by the bundle's own runtime where it is for this
    processor, as on the board itself, else by one built here.
    """

    name = "local"

    @contextmanager
    def place(self, bundle: Path) -> Iterator[Place]:
        command = local_runtime(bundle) / COMMAND
        with device_errors(self.name), TemporaryDirectory(prefix="spartanc-") as scratch:
            yield ProcessPlace([str(command)], Path(scratch))


KIND = DeviceKind("local", (), lambda name, target: LocalDevice())
