"""Devices by the names that `--device` takes: one table for the command line, doctor and bench."""

from __future__ import annotations

from spartanc.errors import UsageError
from spartanc.runtime_py.bundle import Bundle
from spartanc.runtime_py.devices import adb, local, qemu, ssh
from spartanc.runtime_py.devices.device import Device, DeviceKind
from spartanc.runtime_py.devices.stock import StockDevice

KINDS: tuple[DeviceKind, ...] = (local.KIND, qemu.KIND, ssh.KIND, adb.KIND)
SPELLINGS = ", ".join(kind.spelling for kind in KINDS)


def find_device(name: str, target: str) -> Device:
    """The device called `name` for a bundle of `target`; UsageError if there is no such kind."""
    for kind in KINDS:
        if kind.takes(name):
            return kind.make(name, target)
    raise UsageError(f"unknown device `{name}`", hint=f"devices: {SPELLINGS}")


def device_for(bundle: Bundle, name: str) -> Device:
    """The device called `name` for `bundle`; a TorchScript program runs on this machine, with stock torch."""
    if bundle.manifest.get("program_format") != "torchscript":
        return find_device(name, bundle.target)
    if name != local.KIND.spelling:
        raise UsageError(f"`{bundle.path}` holds TorchScript, which runs on device `local` alone, not on `{name}`")
    return StockDevice()
