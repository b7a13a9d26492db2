"""What devices over a wire share: a store of files by digest, a folder for each job, and a program that ends with us.

On the device, below one base folder:

    files/DIGEST     every file that was ever sent, named by its SHA-256; sent again only if it is not there
    jobs/ID/         hard links to what one job uses, and what it writes; removed when the job ends

Files that no job used for a week, and jobs that a lost connection left behind a day ago, are removed on the next visit.
The device needs a POSIX shell and the usual small commands (ls, ln, find, sha256sum), nothing else.
"""

from __future__ import annotations

import platform
import secrets
import shlex
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from spartanc.base.files import file_digest
from spartanc.errors import SpartancError
from spartanc.runtime_py.architecture import elf_machine, machine_name
from spartanc.runtime_py.build import COMMAND, board_runtime_files
from spartanc.runtime_py.devices.device import Device, DeviceError, Finished, Place, device_errors

_FILE_DAYS, _JOB_DAYS = 7, 1


class Wire(ABC):
    """How commands and files reach a device."""

    name: str
    base: str  # of all that we keep there; may start with $HOME

    @abstractmethod
    def shell(self, script: str) -> Finished:
        """Run a shell script there; DeviceError where the device can't be reached."""

    @abstractmethod
    def run(self, script: str) -> Finished:
        """The same for the program itself: it is ended when the connection is lost."""

    @abstractmethod
    def send(self, files: dict[str, Path], folder: str) -> None:
        """Write each local file to `folder`/name there."""

    @abstractmethod
    def fetch(self, remote: str, local: Path) -> None:
        """Copy one file here."""

    def close(self) -> None:
        """Let go of the connection."""
        return


class RemotePlace(Place):
    def __init__(self, wire: Wire):
        self._wire = wire
        self._store = f"{wire.base}/files"
        self.job = f"{wire.base}/jobs/{secrets.token_hex(8)}"
        self.prefix: list[str] = []
        self._present: set[str] = set()

    def open(self) -> str:
        """Make the job's folder; returns the device's architecture."""
        done = self.must(
            f'mkdir -p "{self._store}" "{self._wire.base}/jobs" && mkdir "{self.job}" && uname -m'
            f' && find "{self._store}" -type f -mtime +{_FILE_DAYS} -exec rm -f {{}} +'
            f' && find "{self._wire.base}/jobs" -mindepth 1 -maxdepth 1 -mtime +{_JOB_DAYS} -exec rm -rf {{}} +'
            f' && ls "{self._store}"'
        )
        machine, *digests = done.stdout.split()
        self._present = set(digests)
        return machine_name(machine)

    def close(self) -> None:
        self._wire.shell(f'rm -rf "{self.job}"')

    def put(self, local: Path) -> str:
        files = [path for path in sorted(local.rglob("*")) if path.is_file()] if local.is_dir() else [local]
        self.put_files({str(file.relative_to(local.parent)): file for file in files})
        return f"{self.job}/{local.name}"

    def put_files(self, files: dict[str, Path]) -> None:
        """Make local files available as `job`/name; sends what the device does not hold yet."""
        digests = {name: file_digest(path) for name, path in files.items()}
        missing = {digest: files[name] for name, digest in digests.items() if digest not in self._present}
        if missing:
            self._send(missing)
        lines = [f'cd "{self.job}"']
        for folder in sorted({str(Path(name).parent) for name in digests} - {"."}):
            lines.append(f"mkdir -p {shlex.quote(folder)}")
        for name, digest in digests.items():
            # touch: a file in use is not a week old. A link costs nothing; a copy serves where links can't be made.
            stored = f'"{self._store}/{digest}"'
            lines.append(f"touch {stored} && {{ ln -f {stored} {shlex.quote(name)} 2>/dev/null ||")
            lines[-1] += f" cp {stored} {shlex.quote(name)}; }}"
        self.must(" && ".join(lines))

    def new_path(self, name: str) -> str:
        return f"{self.job}/{name}"

    def get(self, remote: str, local: Path) -> None:
        self._wire.fetch(remote, local)

    def execute(self, arguments: Sequence[str]) -> Finished:
        words = " ".join(_quoted(word) for word in [*self.prefix, f"{self.job}/runtime/{COMMAND}", *arguments])
        return self._wire.run(words)

    def must(self, script: str) -> Finished:
        """Run a script that has to end well."""
        done = self._wire.shell(script)
        if done.code != 0:
            said = done.stderr.strip().splitlines()
            reason = said[-1] if said else f"exit {done.code}"
            full = "the device's disk is full: " if "No space left" in done.stderr else ""
            raise DeviceError(f"device `{self._wire.name}`: {full}{reason}")
        return done

    def _send(self, missing: dict[str, Path]) -> None:
        incoming = f"{self.job}/incoming"
        self.must(f'mkdir -p "{incoming}"')
        self._wire.send(missing, incoming)
        checks = "\\n".join(f"{digest}  {digest}" for digest in missing)
        # Only what arrived whole enters the store.
        self.must(
            f'cd "{incoming}" && printf "{checks}\\n" | sha256sum -c >/dev/null && chmod 755 ./*'
            f' && mv ./* "{self._store}/"'
        )
        self._present |= set(missing)


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
        try:
            with device_errors(self.name):
                machine = place.open()
                runtime = _runtime_files(bundle, machine, self.name)
                more, words = self.loader(machine)
                place.put_files({f"runtime/{name}": file for name, file in {**runtime, **more}.items()})
                place.prefix = [word.replace("{runtime}", f"{place.job}/runtime") for word in words]
                yield place
        finally:
            with suppress(SpartancError, OSError):  # what went wrong before is what the user has to know
                place.close()
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


def _quoted(word: str) -> str:
    """For the device's shell; a leading $HOME is the device's."""
    return f'"$HOME"{shlex.quote(word[5:])}' if word.startswith("$HOME") else shlex.quote(word)
