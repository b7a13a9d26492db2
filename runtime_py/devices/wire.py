"""How commands and files reach a device that is not this machine."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

from spartanc.runtime_py.devices.device import DeviceError, Finished


class Wire(ABC):
    """A connection to one device, which has a POSIX shell."""

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

    def must(self, script: str) -> Finished:
        """Run a script that has to end well; DeviceError where it does not."""
        done = self.shell(script)
        if done.code != 0:
            said = done.stderr.strip().splitlines()
            reason = said[-1] if said else f"exit {done.code}"
            full = "the device's disk is full: " if "No space left" in done.stderr else ""
            raise DeviceError(f"device `{self.name}`: {full}{reason}")
        return done
