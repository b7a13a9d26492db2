"""Devices by the names that `--device` takes."""

from __future__ import annotations

from spartanc.errors import UsageError
from spartanc.runtime_py.devices.adb import AdbDevice
from spartanc.runtime_py.devices.device import Device
from spartanc.runtime_py.devices.local import LocalDevice
from spartanc.runtime_py.devices.qemu import QemuDevice
from spartanc.runtime_py.devices.ssh import SshDevice

NAMES = "local, qemu, ssh://user@host[:port], adb[:serial]"


def find_device(name: str, target: str) -> Device:
    """The device called `name` for a bundle of `target`; UsageError where there is no such kind."""
    if name == "local":
        return LocalDevice()
    if name == "qemu":
        return QemuDevice(target)
    if name.startswith("ssh:"):
        return SshDevice(name)
    if name == "adb" or name.startswith("adb:"):
        return AdbDevice(name)
    raise UsageError(f"unknown device `{name}`", hint=f"devices: {NAMES}")
