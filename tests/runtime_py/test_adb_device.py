"""The adb device against a stand-in for the `adb` program. No phone has run it."""

import os
import platform
import shutil
from pathlib import Path

import numpy as np
import pytest

from spartanc.base.files import file_digest
from spartanc.errors import MissingToolError
from spartanc.runtime_py.bench import BenchPlan, bench_bundle
from spartanc.runtime_py.devices.adb import AdbDevice, AdbWire
from spartanc.runtime_py.devices.catalogue import find_device
from spartanc.runtime_py.devices.device import DeviceError, Finished
from spartanc.runtime_py.setup_target import is_ready
from support.adb import install_adb, log_commands
from support.bundles import make_bundle
from support.folders import found_in, many_files
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


def test_bench_takes_a_baseline_of_the_same_name_there(tiny, phone, tmp_path):
    phone()
    one, other = (make_bundle(tmp_path / name / "bundle", tiny[0], max_length=length) for name, length in
                  (("one", 24), ("other", 8)))  # fmt: skip
    plan = BenchPlan(threads=1, seconds=0.2, loads=1)
    found = bench_bundle(one, device="adb", baseline=other, plan=plan)
    assert found.length == 8
    assert found.ratio is not None


def test_a_serial_chooses_the_phone(tiny, phone):
    phone()
    assert len(AdbDevice("adb:PHONE1").run(tiny[0].parent, tiny[0], tiny_rows(1))) == 1
    with pytest.raises(DeviceError, match="can't be reached: adb: device 'OTHER' not found"):
        AdbDevice("adb:OTHER").run(tiny[0].parent, tiny[0], tiny_rows(1))


def test_a_folder_of_400_files_comes_whole(phone, tmp_path):
    root = phone()
    folder = many_files(tmp_path / "fleet", 400, different=3)
    with AdbDevice("adb").place(folder) as place:
        there = place.put(folder).replace("/data/local/tmp", str(root))
        assert found_in(Path(there)) == found_in(folder)
    assert list((root / "spartanc-device/jobs").iterdir()) == []


def test_a_link_is_sent_as_what_it_leads_to(tiny, phone, tmp_path):
    phone()
    (tmp_path / "link.pte").symlink_to(tiny[0])
    with AdbDevice("adb").place(tmp_path) as place:
        assert place.execute(["info", place.put(tmp_path / "link.pte")]).code == 0


SAID = {
    "error: device offline": True,
    "error: closed": True,
    "adb: no devices/emulators found": True,
    "adb: error: failed to get feature set: device 'X' not found": True,
    "adb: failed to check server version: cannot connect to daemon": True,
    "error: device unauthorized.\nThis adb server's $ADB_VENDOR_KEYS is not set\nTry 'adb kill-server'": True,
    "error: bundle `/data/offline-topics`: `model.pte` has 10 bytes, its manifest says 11": False,
    "error: `/data/x` is closed": False,
    "sh: ls: not found": False,
}


@pytest.mark.parametrize(("said", "is_lost"), SAID.items())
def test_a_lost_phone_is_told_from_a_program_that_uses_its_words(monkeypatch, tmp_path, said, is_lost):
    program = tmp_path / "adb"
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    for code in (1, 255) if is_lost else (1, 2):
        program.write_text(f"#!/bin/sh\ncat >&2 <<'END'\n{said}\nEND\nexit {code}\n")
        program.chmod(0o755)
        if is_lost:
            with pytest.raises(DeviceError, match="can't be reached: ") as caught:
                AdbWire("adb", None).run("x")
            assert said.splitlines()[0] in caught.value.message
        else:
            assert AdbWire("adb", None).run("x") == Finished(code, "", said + "\n")


def test_a_full_phone_is_named(tiny, phone):
    root = phone(full=True)
    with pytest.raises(DeviceError, match="disk is full"):
        AdbDevice("adb").run(tiny[0].parent, tiny[0], tiny_rows(1))
    assert list((root / "spartanc-device/jobs").iterdir()) == []


@pytest.mark.parametrize("plain_sync", [False, True])
def test_files_are_on_the_disk_before_they_enter_the_store(tiny, phone, plain_sync):
    root = phone()
    log = log_commands(root, "sync", "mv", plain_sync=plain_sync)
    AdbDevice("adb").run(tiny[0].parent, tiny[0], tiny_rows(1))
    lines = log.read_text().splitlines()
    moves = [i for i, line in enumerate(lines) if line.startswith("mv ")]
    assert moves
    for i in moves:
        files = lines[i].removeprefix("mv -f ").rpartition(" ")[0]
        assert files
        assert lines[i - 1] == ("sync " if plain_sync else f"sync {files}")


def test_a_second_run_sends_and_hashes_nothing(tiny, phone):
    root = phone()
    device = AdbDevice("adb")
    device.run(tiny[0].parent, tiny[0], tiny_rows(1))
    log = log_commands(root, "sync", "mv", "sha256sum")
    device.run(tiny[0].parent, tiny[0], tiny_rows(1))
    assert log.read_text() == ""


def test_a_phone_that_does_not_say_which_boot_this_is_hashes_every_time(tiny, phone):
    root = phone()
    device = AdbDevice("adb")
    log_commands(root, "sha256sum")
    hide = root / "bin" / "cat"
    hide.write_text(f'#!/bin/sh\ncase "$1" in /proc/*) exit 1;; esac\nexec {shutil.which("cat")} "$@"\n')
    hide.chmod(0o755)
    device.run(tiny[0].parent, tiny[0], tiny_rows(1))
    for file in (root / "spartanc-device/files").iterdir():
        file.write_bytes(bytes(file.stat().st_size))
    device.run(tiny[0].parent, tiny[0], tiny_rows(1))
    assert all(file_digest(file) == file.name for file in (root / "spartanc-device/files").iterdir())


def test_missing_adb_names_the_package(tiny, monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(MissingToolError) as error:
        AdbDevice("adb").run(tiny[0].parent, tiny[0], tiny_rows(1))
    assert "apt-get install adb" in error.value.hint
