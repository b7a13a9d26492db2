"""The adb device against a stand-in for the `adb` program. No phone has run it."""

import os
import platform
import shutil

import numpy as np
import pytest

from spartanc.errors import MissingToolError
from spartanc.runtime_py.devices.adb import AdbDevice
from spartanc.runtime_py.devices.catalogue import find_device
from spartanc.runtime_py.devices.device import DeviceError
from spartanc.runtime_py.setup_target import is_ready
from support.adb import install_adb
from support.programs import eager_logits, tiny_rows

HERE = platform.machine()
aarch64 = pytest.param(
    "aarch64",
    marks=[
        pytest.mark.qemu,
        pytest.mark.skipif(not is_ready("rpi4"), reason="`spartanc setup rpi4` was not run"),
        pytest.mark.skipif(shutil.which("qemu-aarch64-static") is None, reason="qemu-user-static is missing"),
    ],
)


@pytest.fixture
def phone(tmp_path, monkeypatch):
    def make(machine=HERE, full=False):
        root = install_adb(tmp_path, machine, full)
        monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
        return root

    return make


@pytest.mark.parametrize("machine", [HERE, aarch64])
def test_logits_over_adb_agree_with_eager_and_no_job_is_left(tiny, phone, machine):
    root = phone(machine)
    path, module = tiny
    rows = tiny_rows()
    got = np.stack(find_device("adb", "android-arm64").run(path.parent, path, rows, threads=1))
    assert np.abs(got - np.stack(eager_logits(module, rows))).max() < 1e-5
    assert list((root / "spartanc-device/jobs").iterdir()) == []
    assert list((root / "spartanc-device/files").iterdir()) != []


def test_a_serial_chooses_the_phone(tiny, phone):
    phone()
    assert len(AdbDevice("adb:PHONE1").run(tiny[0].parent, tiny[0], tiny_rows(1))) == 1
    with pytest.raises(DeviceError, match="can't be reached: adb: device 'OTHER' not found"):
        AdbDevice("adb:OTHER").run(tiny[0].parent, tiny[0], tiny_rows(1))


def test_a_full_phone_is_named(tiny, phone):
    root = phone(full=True)
    with pytest.raises(DeviceError, match="disk is full"):
        AdbDevice("adb").run(tiny[0].parent, tiny[0], tiny_rows(1))
    assert list((root / "spartanc-device/jobs").iterdir()) == []


def test_missing_adb_names_the_package(tiny, monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(MissingToolError) as error:
        AdbDevice("adb").run(tiny[0].parent, tiny[0], tiny_rows(1))
    assert "apt-get install adb" in error.value.hint
