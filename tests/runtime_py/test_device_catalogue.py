"""One table of devices: what a name means, what it needs, and what the command line says of it."""

import pytest
from click.testing import CliRunner

from spartanc.base.toolchain import AARCH64, HOST_COMPILER, TOOLCHAINS
from spartanc.compiler.cli import main
from spartanc.compiler.doctor import examine
from spartanc.errors import UsageError
from spartanc.runtime_py.build import NATIVE_SOURCES
from spartanc.runtime_py.bundle import Bundle
from spartanc.runtime_py.devices.adb import AdbDevice
from spartanc.runtime_py.devices.catalogue import KINDS, SPELLINGS, device_for, find_device
from spartanc.runtime_py.devices.local import LocalDevice
from spartanc.runtime_py.devices.qemu import QemuDevice
from spartanc.runtime_py.devices.ssh import SshDevice
from spartanc.runtime_py.devices.stock import StockDevice


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("local", LocalDevice),
        ("qemu", QemuDevice),
        ("adb", AdbDevice),
        ("adb:0123", AdbDevice),
        ("ssh://pi@board:22", SshDevice),
    ],
)
def test_a_name_is_of_one_kind(name, kind):
    assert type(find_device(name, "rpi4")) is kind
    assert [each.takes(name) for each in KINDS].count(True) == 1


@pytest.mark.parametrize("name", ["", "local:1", "qemu:x", "adbx", "sshx://a", "toaster", "Local"])
def test_another_name_is_refused_with_all_kinds(name):
    with pytest.raises(UsageError) as caught:
        find_device(name, "rpi4")
    assert caught.value.hint == f"devices: {SPELLINGS}"


def test_help_and_doctor_list_what_the_table_has():
    said = " ".join(CliRunner().invoke(main, ["run", "--help"]).stdout.split())
    assert SPELLINGS in said
    programs = {row["name"] for row in examine()}
    assert {program.name for kind in KINDS for program in kind.programs} <= programs
    assert {HOST_COMPILER.name, AARCH64.compiler.name} <= programs


def test_torchscript_runs_on_this_machine_alone(tmp_path):
    bundle = Bundle(tmp_path, {"program_format": "torchscript", "target": "rpi4"})
    assert type(device_for(bundle, "local")) is StockDevice
    with pytest.raises(UsageError, match="TorchScript"):
        device_for(bundle, "qemu")
    assert type(device_for(Bundle(tmp_path, {"target": "rpi4"}), "local")) is LocalDevice


def test_every_toolchain_has_its_cmake_file():
    for toolchain in TOOLCHAINS.values():
        assert (NATIVE_SOURCES / "cmake" / toolchain.cmake_file).is_file()
