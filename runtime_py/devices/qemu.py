"""An Arm board's processor, emulated by qemu-user: right results, and times that tell nothing of speed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from spartanc.base.targets.catalogue import find_target
from spartanc.base.targets.target import Target
from spartanc.base.toolchain import AARCH64
from spartanc.errors import MissingToolError, UsageError
from spartanc.runtime_py.board_model.inference import model_inference
from spartanc.runtime_py.board_model.tools import PROGRAMS
from spartanc.runtime_py.build import COMMAND, build_runtime
from spartanc.runtime_py.devices.board_root import board_root
from spartanc.runtime_py.devices.device import Device, DeviceKind, Place, Row, device_errors
from spartanc.runtime_py.devices.local import ProcessPlace
from spartanc.runtime_py.instructions import instructions_of_a_run


class QemuDevice(Device):
    """The processor of `target`, or of its `cpu` if one is named."""

    name = "qemu"
    emulated = True

    def __init__(self, target: Target | str, cpu: str | None = None):
        self.target = find_target(target) if isinstance(target, str) else target
        self.cpu = cpu or self.target.qemu_cpu
        toolchain = self.target.toolchain
        if toolchain is None or self.cpu is None:
            raise UsageError(
                f"device `qemu` emulates Arm boards; a bundle for `{self.target.name}` is not for one",
                hint="use `--device local`",
            )
        self._toolchain = toolchain

    @contextmanager
    def place(self, bundle: Path) -> Iterator[Place]:
        program = self._toolchain.qemu
        qemu = shutil.which(program.name)
        if qemu is None:
            raise MissingToolError(f"`{program.name}` is missing", hint=program.hint)
        command = self._command(bundle)
        assert self.cpu is not None
        with device_errors(self.name), TemporaryDirectory(prefix="spartanc-") as scratch:
            yield ProcessPlace([qemu, "-cpu", self.cpu, "-L", str(self.root()), str(command)], Path(scratch))

    def instructions_of_a_run(self, bundle: Path, program: Path, row: Row, more: Sequence[str] = ()) -> dict[str, Any]:
        """How many instructions the board's processor executes for one input; see `Device`."""
        assert self.cpu is not None
        return instructions_of_a_run(self._command(bundle), program, row, cpu=self.cpu, root=self.root(), more=more)

    def modelled_run(self, bundle: Path, program: Path, row: Row, more: Sequence[str] = ()) -> dict[str, Any]:
        """What one input takes on the board by the board model; see `Device`."""
        return asdict(model_inference(self._command(bundle), program, row, self.target, self.root(), more))

    def root(self) -> Path:
        """What the emulated programs see as `/`; MissingToolError where the board's C library is not there."""
        sysroot = self._toolchain.sysroot
        if not (sysroot / "lib" / self._toolchain.loader).exists():
            raise MissingToolError(
                f"the {self._toolchain.architecture} C library is missing in `{sysroot}`",
                hint=self._toolchain.compiler.hint,
            )
        return board_root(self.target, sysroot)

    def _command(self, bundle: Path) -> Path:
        shipped = bundle / "runtime" / COMMAND
        return shipped if shipped.is_file() else build_runtime(self._runtime_target()) / COMMAND

    def _runtime_target(self) -> Target:
        # One aarch64 runtime serves every board; a phone's program is tried with it too.
        return self.target if self.target.has_native_runtime else find_target("rpi4")


KIND = DeviceKind("qemu", (AARCH64.qemu, *PROGRAMS), lambda name, target: QemuDevice(target))
