"""What a device is: a place that takes files and runs the `spartan` command on them.

Every device answers by the same command, the one that a bundle carries; a device is how its files and
arguments get there. A crash of the program is an error here and never the end of this process.
"""

from __future__ import annotations

import json
import re
import signal
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spartanc.base.toolchain import Program
from spartanc.errors import MissingToolError, SpartancError, UsageError
from spartanc.runtime_py.bundle import MANIFEST, Bundle
from spartanc.runtime_py.safetensors_file import read_tensors, write_tensors

Row = tuple[np.ndarray, np.ndarray]  # ids int64 [1, L], mask int64 [1, L]
OUT_OF_MEMORY_HINT = "`dmesg` there says what it ended; docs/on-a-pi.md says what a bundle needs"
_COMMAND_REFUSED = 2


class DeviceError(MissingToolError):
    """A device can't be reached, or went away in the middle."""


@dataclass(frozen=True)
class Finished:
    """How a command on a device ended; `code` below 0 is the signal that ended it."""

    code: int
    stdout: str
    stderr: str


class Place(ABC):
    """A device for the length of one job. Paths are the device's own."""

    @abstractmethod
    def put(self, local: Path) -> str:
        """Make the file or directory `local` available; returns its path there."""

    @abstractmethod
    def new_path(self, name: str) -> str:
        """A path there for a file that the job will write."""

    @abstractmethod
    def get(self, remote: str, local: Path) -> None:
        """Bring a file back."""

    @abstractmethod
    def execute(self, arguments: Sequence[str]) -> Finished:
        """Run `spartan` with `arguments`."""


@dataclass(frozen=True)
class DeviceKind:
    """What `--device` may name. spelling: as users write it, what may vary in it included, as in `adb[:serial]`.

    programs: of this system, which it needs. make: the device of a name, for a bundle of a target's name.
    """

    spelling: str
    programs: tuple[Program, ...]
    make: Callable[[str, str], Device]

    @property
    def word(self) -> str:
        """What every name of this kind begins with."""
        return re.split(r"[:\[]", self.spelling)[0]

    def takes(self, name: str) -> bool:
        """Whether `name` is one of this kind, well formed or not."""
        return name == self.spelling or (self.word != self.spelling and name.partition(":")[0] == self.word)


class Device(ABC):
    """`emulated` devices compute as the real one does and take a time that says nothing of its speed."""

    name: str
    emulated = False

    @abstractmethod
    def place(self, bundle: Path) -> Any:
        """A context manager that gives a Place with the runtime for `bundle` ready."""

    def run(
        self,
        bundle: Path,
        program: Path,
        rows: Sequence[Row],
        *,
        threads: int | None = None,
        keep_padding: bool = False,
        inputs: Mapping[str, np.ndarray] | None = None,
        weight_cache: bool = False,
        task: str | Path | None = None,
    ) -> list[np.ndarray]:
        """Logits float32 [C] of every row, in order.

        `task` is for a bundle with a shared backbone: a task's name, or the path of its file.

        `program` is the bundle's program file; where the bundle has its manifest already, the device checks the bundle
        and runs its probe first. Trailing padding is cut off unless `keep_padding`; `inputs`
        follow ids and mask, in their order. Raises UsageError where the program refuses an input,
        DeviceError where the device fails.
        """
        if not rows:
            return []
        results: list[np.ndarray | None] = [None] * len(rows)
        with tempfile.TemporaryDirectory(prefix="spartanc-") as scratch, self.place(bundle) as place:
            arguments = common_arguments(place, Path(scratch), threads, inputs, weight_cache)
            # What has a manifest is checked against it there too, so the whole bundle goes there.
            sealed = program.parent == bundle and (bundle / MANIFEST).is_file()
            remote_program = place.put(bundle if sealed else program)
            if task is not None:
                arguments += ["--task", place.put(task) if isinstance(task, Path) else task]
            for number, indices in enumerate(_groups(rows, keep_padding)):
                ids = Path(scratch) / f"rows-{number}.safetensors"
                write_rows(ids, [rows[i] for i in indices])
                out = place.new_path(f"logits-{number}.safetensors")
                command = ["run", remote_program, "--ids", place.put(ids), "--out", out, *arguments]
                self.check(place.execute(command + (["--keep-padding"] if keep_padding else [])))
                local_out = Path(scratch) / f"out-{number}.safetensors"
                place.get(out, local_out)
                logits = read_tensors(local_out)["logits"]
                for i, row in zip(indices, logits, strict=True):
                    results[i] = row
        return [row for row in results if row is not None]

    def check_probe(self, bundle: Bundle) -> None:
        """Run the bundle's probe; UsageError where the program gives other logits. A fleet's tasks have their own."""
        if not bundle.is_fleet:
            probe = bundle.probe
            self.run(bundle.path, bundle.program, [(probe.input_ids, probe.attention_mask)])

    def instructions_of_a_run(
        self, bundle: Path, program: Path, row: Row, more: Sequence[str] = ()
    ) -> dict[str, Any] | None:
        """Instructions that the device executes for one input, counted; None for a device that can't count them.

        more: further options of `spartan run`.
        """
        return None

    def modelled_run(self, bundle: Path, program: Path, row: Row, more: Sequence[str] = ()) -> dict[str, Any] | None:
        """What one input takes on the device by the board model, never a measurement; None for a real device.

        The fields are board_model.timing.Modelled's. Raises MissingToolError where a tool of the model is missing.
        """
        return None

    def command_json(self, place: Place, arguments: Sequence[str]) -> Any:
        """The JSON that `spartan` with `arguments` printed."""
        done = self.check(place.execute(arguments))
        try:
            return json.loads(done.stdout)
        except ValueError as error:
            raise DeviceError(f"device `{self.name}` answered with something that is not JSON: {error}") from error

    def check(self, done: Finished) -> Finished:
        """`done` itself where it ended well; else the error that says what went wrong on the device."""
        if done.code == 0:
            return done
        said = done.stderr.strip()
        message = said.removeprefix("error: ") or "it said nothing"
        if done.code == _COMMAND_REFUSED and said.startswith("error: "):
            raise UsageError(f"on `{self.name}`: {message}")
        if done.code < 0 or done.code > 128:
            number = -done.code if done.code < 0 else done.code - 128
            if number == signal.SIGKILL:
                # Nobody else sends it there as a rule: a kernel without memory kills the program that holds the most.
                raise DeviceError(
                    f"on `{self.name}` the program was killed (SIGKILL), as by a system out of memory: {message}",
                    hint=OUT_OF_MEMORY_HINT,
                )
            raise DeviceError(f"on `{self.name}` the program was ended by {_signal_name(number)}: {message}")
        raise DeviceError(f"on `{self.name}` the program failed (exit {done.code}): {message}")


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """Rows padded to one length, with their masks, as the `spartan` command reads them."""
    length = max(ids.shape[1] for ids, _ in rows)
    ids_NL = np.zeros((len(rows), length), np.int64)
    mask_NL = np.zeros((len(rows), length), np.int64)
    for i, (ids, mask) in enumerate(rows):
        if ids.ndim != 2 or len(ids) != 1 or ids.shape != mask.shape:
            raise UsageError(f"row {i + 1}: ids and mask must both be [1, L], got {ids.shape} and {mask.shape}")
        ids_NL[i, : ids.shape[1]] = ids[0]
        mask_NL[i, : ids.shape[1]] = mask[0]
    write_tensors(path, {"input_ids": ids_NL, "attention_mask": mask_NL})


def without_checks(program: Path, scratch: Path) -> Path:
    """The program under a name that no manifest stands beside: what is counted is then the inference alone.

    Checks that are remembered would count in one run and not in the next. A fleet, which is a folder, stays as it is.
    """
    if program.is_dir():
        return program
    link = scratch / program.name
    link.symlink_to(program.resolve())
    return link


@contextmanager
def device_errors(name: str) -> Iterator[None]:
    """What the operating system says while a device is worked with, as one clear error."""
    try:
        yield
    except SpartancError:
        raise
    except OSError as error:
        raise DeviceError(f"device `{name}`: {error.strerror or error}") from error


def common_arguments(
    place: Place,
    scratch: Path,
    threads: int | None,
    inputs: Mapping[str, np.ndarray] | None,
    weight_cache: bool,
) -> list[str]:
    """Options that every command but `info` takes; `inputs` are written to a file and made available."""
    arguments = [] if threads is None else ["--threads", str(threads)]
    if weight_cache:
        arguments.append("--weight-cache")
    if inputs:
        file = scratch / "inputs.safetensors"
        write_tensors(file, inputs)
        arguments += ["--inputs", place.put(file)]
    return arguments


def _groups(rows: Sequence[Row], keep_padding: bool) -> list[list[int]]:
    """Indices of rows that go into one file: all, or with padding kept those of one length."""
    if not keep_padding:
        return [list(range(len(rows)))]
    by_length: dict[int, list[int]] = {}
    for i, (ids, _) in enumerate(rows):
        by_length.setdefault(ids.shape[1], []).append(i)
    return list(by_length.values())


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
