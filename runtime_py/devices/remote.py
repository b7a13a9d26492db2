"""What devices over a wire share: a store of files by digest, a folder for each job, and a program that ends with us.

On the device, below one base folder:

    files/DIGEST     every file that was ever sent, see store.py
    checked          since when they are known to be whole
    jobs/ID/         what one job writes, and hard links to what it uses, in folders of ours: their names are the user's
                     below; removed when the job ends

Jobs that a lost connection left behind a day ago are removed on the next visit. The device needs a POSIX shell and the
usual small commands (ls, ln, find, sync, sha256sum), nothing else.
"""

from __future__ import annotations

import os
import platform
import secrets
import shlex
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from spartanc.errors import SpartancError
from spartanc.runtime_py.architecture import elf_machine, machine_name
from spartanc.runtime_py.build import COMMAND, board_runtime_files
from spartanc.runtime_py.devices.device import OUT_OF_MEMORY_HINT, Device, DeviceError, Finished, Place, device_errors
from spartanc.runtime_py.devices.store import Store
from spartanc.runtime_py.devices.wire import Wire

_JOB_DAYS = 1
_ENDED = "{ grep -w oom_kill /proc/vmstat 2>/dev/null || true; }"  # a script, for _count


class RemotePlace(Place):
    def __init__(self, wire: Wire):
        self._wire = wire
        self._store = Store(wire)
        self.job = f"{wire.base}/jobs/{secrets.token_hex(8)}"
        self.prefix: list[str] = []
        self._ended_by_kernel: int | None = None
        self._puts = 0

    def open(self) -> str:
        """Make the job's folder; returns the device's architecture."""
        jobs = f"{self._wire.base}/jobs"
        done = self._wire.must(
            f'mkdir -p "{jobs}" && mkdir "{self.job}" && uname -m && {_ENDED}'
            f' && find "{jobs}" -mindepth 1 -maxdepth 1 -mtime +{_JOB_DAYS} -exec rm -rf {{}} +'
        )
        self._store.look()
        machine, *counted = done.stdout.splitlines()
        self._ended_by_kernel = _count("\n".join(counted))
        return machine_name(machine.strip())

    def close(self, failed: bool) -> None:
        """Remove the job's folder. Where it failed, a damaged file may be why: the next visit hashes what is stored."""
        self._wire.shell(f'rm -rf "{self.job}"' + (f"; {self._store.distrust}" if failed else ""))

    def put(self, local: Path) -> str:
        files = [path for path in sorted(local.rglob("*")) if path.is_file()] if local.is_dir() else [local]
        self._puts += 1
        # Never a name alone: it may be one of ours. And `.` and `..` are places, not names.
        name = f"put-{self._puts}/{os.path.basename(os.path.abspath(local))}"
        self.put_files({os.path.normpath(f"{name}/{file.relative_to(local)}"): file for file in files})
        return f"{self.job}/{name}"

    def put_files(self, files: dict[str, Path]) -> None:
        """Make local files available as `job`/name."""
        self._store.provide(files, self.job)

    def new_path(self, name: str) -> str:
        return f"{self.job}/{name}"

    def get(self, remote: str, local: Path) -> None:
        self._wire.fetch(remote, local)

    def execute(self, arguments: Sequence[str]) -> Finished:
        words = " ".join(_quoted(word) for word in [*self.prefix, f"{self.job}/runtime/{COMMAND}", *arguments])
        try:
            return self._wire.run(words)
        except DeviceError as lost:
            # A device without memory may answer nobody until its kernel has ended something: our connection, say.
            before, after = self._ended_by_kernel, None
            with suppress(DeviceError):
                after = _count(self._wire.shell(_ENDED).stdout)
            if before is None or after is None or after <= before:
                raise
            raise DeviceError(
                f"device `{self._wire.name}` ran out of memory: its kernel ended a program, and the connection went",
                hint=OUT_OF_MEMORY_HINT,
            ) from lost


class RemoteDevice(Device):
    """A device behind a Wire."""

    @abstractmethod
    def wire(self) -> Wire: ...

    def loader(self, machine: str) -> tuple[dict[str, Path], list[str]]:
        """Files and leading words for a device whose C library is not ours; none as a rule."""
        return {}, []

    @contextmanager
    def place(self, bundle: Path) -> Iterator[Place]:
        wire = self.wire()
        place = RemotePlace(wire)
        failed = True
        try:
            with device_errors(self.name):
                machine = place.open()
                runtime = _runtime_files(bundle, machine, self.name)
                more, words = self.loader(machine)
                place.put_files({f"runtime/{name}": file for name, file in {**runtime, **more}.items()})
                place.prefix = [word.replace("{runtime}", f"{place.job}/runtime") for word in words]
                yield place
            failed = False
        finally:
            with suppress(SpartancError, OSError):  # what went wrong before is what the user has to know
                place.close(failed)
            wire.close()


def _runtime_files(bundle: Path, machine: str, device: str) -> dict[str, Path]:
    """What `runtime/` on the device holds: the bundle's own, else one built here."""
    shipped = bundle / "runtime" / COMMAND
    if shipped.is_file():
        built_for = elf_machine(shipped)
        if built_for != machine:
            raise DeviceError(
                f"the runtime of `{bundle}` is for {built_for}, device `{device}` is {machine}",
                hint="compile for a target of the device's architecture; `spartanc targets` lists them",
            )
        return {file.name: file for file in shipped.parent.iterdir() if file.is_file()}
    if machine == "aarch64":
        return board_runtime_files("rpi4")
    if machine == machine_name(platform.machine()):
        return board_runtime_files("host")
    raise DeviceError(f"device `{device}` is {machine}: spartanc builds no runtime for it")


def _count(said: str) -> int | None:
    """How many programs a device's kernel has ended for want of memory; None where it does not say."""
    words = said.split()
    return int(words[1]) if len(words) == 2 and words[1].isdigit() else None


def _quoted(word: str) -> str:
    """For the device's shell; a leading $HOME is the device's."""
    return f'"$HOME"{shlex.quote(word[5:])}' if word.startswith("$HOME") else shlex.quote(word)
