"""Local and emulated devices: the same rows, the same answers, and one clear error for what goes wrong."""

import os
import shlex
import shutil
from collections import Counter

import numpy as np
import pytest

from spartanc.base.files import file_digest
from spartanc.errors import MissingToolError, UsageError
from spartanc.runtime_py.devices.catalogue import find_device
from spartanc.runtime_py.devices.device import DeviceError, Finished
from spartanc.runtime_py.devices.local import LocalDevice
from spartanc.runtime_py.devices.qemu import QemuDevice
from spartanc.runtime_py.devices.remote import RemotePlace
from spartanc.runtime_py.devices.store import Store
from spartanc.runtime_py.devices.wire import Wire
from spartanc.runtime_py.setup_target import is_ready
from support.programs import VOCABULARY, eager_logits, tiny_rows

needs_qemu = [
    pytest.mark.qemu,
    pytest.mark.skipif(not is_ready("rpi4"), reason="`spartanc setup rpi4` was not run"),
    pytest.mark.skipif(shutil.which("qemu-aarch64-static") is None, reason="qemu-user-static is missing"),
]


def device_parameters():
    yield pytest.param(LocalDevice(), id="local")
    for target in ("rpi3", "rpi4", "rpi5"):
        yield pytest.param(QemuDevice(target), id=target, marks=needs_qemu)


@pytest.mark.parametrize("device", list(device_parameters()))
@pytest.mark.parametrize("keep_padding", [False, True])
def test_logits_come_back_in_order_and_agree_with_eager(tiny, device, keep_padding):
    path, module = tiny
    rows = tiny_rows(8)
    ids, mask = rows[2]
    rows.append((np.pad(ids, ((0, 0), (0, 1))), np.pad(mask, ((0, 0), (0, 1)))))
    expected = np.stack(eager_logits(module, rows))
    got = np.stack(device.run(path.parent, path, rows, threads=1, keep_padding=keep_padding))
    assert got.dtype == np.float32
    assert np.abs(got - expected).max() < 1e-5


def test_only_emulated_devices_say_so():
    assert QemuDevice("rpi4").emulated
    assert not LocalDevice().emulated


def test_no_rows_need_no_device(tiny):
    assert LocalDevice().run(tiny[0].parent, tiny[0], []) == []


def test_what_the_program_refuses_is_a_usage_error(tiny):
    long_row = (np.ones((1, 999), np.int64), np.ones((1, 999), np.int64))
    with pytest.raises(UsageError, match="dimension 1"):
        LocalDevice().run(tiny[0].parent, tiny[0], [long_row])


def test_a_program_that_fails_while_it_runs_is_a_device_error(tiny):
    outside = (np.full((1, 3), VOCABULARY + 5), np.ones((1, 3), np.int64))
    with pytest.raises(DeviceError, match="failed while it ran"):
        LocalDevice().run(tiny[0].parent, tiny[0], [outside])


def test_a_program_that_is_killed_is_an_error_with_the_signal():
    with pytest.raises(DeviceError, match="SIGSEGV"):
        LocalDevice().check(Finished(-11, "", ""))


@pytest.mark.parametrize("code", [-9, 137])  # of a process here, and of a shell there
def test_a_program_that_a_kernel_without_memory_killed_is_an_error_that_says_so(code):
    with pytest.raises(DeviceError, match=r"SIGKILL.*out of memory") as error:
        LocalDevice().check(Finished(code, "", ""))
    assert "dmesg" in error.value.hint


def test_rows_of_a_wrong_shape_are_refused(tiny):
    with pytest.raises(UsageError, match="row 1"):
        LocalDevice().run(tiny[0].parent, tiny[0], [(np.ones((1, 3), np.int64), np.ones((1, 2), np.int64))])


def test_an_unknown_device_names_the_known_ones():
    with pytest.raises(UsageError) as error:
        find_device("toaster", "rpi4")
    assert "ssh://" in error.value.hint


def test_a_host_bundle_has_no_board_to_emulate():
    with pytest.raises(UsageError, match="host"):
        find_device("qemu", "host")


def test_missing_qemu_names_the_package(tiny, monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(MissingToolError) as error:
        QemuDevice("rpi4").run(tiny[0].parent, tiny[0], tiny_rows(1))
    assert "qemu-user-static" in error.value.hint


class LosingWire(Wire):
    """A device whose connection ends while the program runs, and that has ended `ended` programs by then."""

    name, base = "board", "$HOME/base"

    def __init__(self, ended):
        self._ended = iter(ended)

    def shell(self, script):
        if "oom_kill" not in script:
            return Finished(0, "aarch64\n", "")
        count = next(self._ended)
        if count is None:
            raise DeviceError("device `board` can't be reached")
        return Finished(0, "aarch64\n" * ("uname" in script) + count, "")

    def run(self, script):
        raise DeviceError("device `board`: the connection was lost")

    def send(self, files, folder): ...

    def fetch(self, remote, local): ...


class CountingWire(LosingWire):
    """Takes every script, and keeps it."""

    def __init__(self):
        self.scripts = []

    def shell(self, script):
        self.scripts.append(script)
        return Finished(0, "", "")


def test_no_script_is_longer_than_a_program_may_be_told(tmp_path):
    """However many files there are, however long their names: Linux takes 128 KiB an argument, its zero included."""
    files = {}
    for number in range(1100):
        (file := tmp_path / str(number)).write_text(str(number))
        files[f"{number:04d}{'é' * 120}/{'é' * 130}"] = file
    wire = CountingWire()
    Store(wire).provide(files, "$HOME/base/jobs/x")
    assert max(len(os.fsencode(script)) for script in wire.scripts) < 128 << 10
    words = Counter(" ".join(wire.scripts).replace("\\n", " ").replace('"', " ").split())
    for name, file in files.items():
        assert words[shlex.quote(name)] == words[f"{shlex.quote(name)};"] == 1  # it is linked, or else copied
        assert words[file_digest(file)] == 2  # on both sides of the line by which it is checked


@pytest.mark.parametrize(
    ("ended", "said"),
    [
        (["oom_kill 2\n", "oom_kill 3\n"], "ran out of memory"),
        (["oom_kill 2\n", "oom_kill 2\n"], "connection was lost"),
        (["oom_kill 2\n", None], "connection was lost"),
        (["", ""], "connection was lost"),
    ],
)
def test_a_connection_that_goes_as_the_memory_does_is_an_error_that_says_so(ended, said):
    place = RemotePlace(LosingWire(ended))
    assert place.open() == "aarch64"
    with pytest.raises(DeviceError, match=said):
        place.execute(["info", "bundle"])
