"""The ssh device against a real sshd that these tests start on loopback."""

import os
import shutil
import subprocess
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from spartanc.base.files import file_digest
from spartanc.errors import MissingToolError, SpartancError, UsageError
from spartanc.runtime_py.build import COMMAND
from spartanc.runtime_py.devices.catalogue import find_device
from spartanc.runtime_py.devices.device import DeviceError
from spartanc.runtime_py.devices.ssh import SshDevice, SshWire
from support.folders import found_in, many_files
from support.programs import eager_logits, tiny_rows
from support.sshd import SSHD, sshd

pytestmark = pytest.mark.skipif(SSHD is None, reason="openssh-server is missing")


@pytest.fixture
def server(tmp_path, monkeypatch):
    home = tmp_path / "home"
    home.mkdir()
    folder = tmp_path / "sshd"
    folder.mkdir()
    with sshd(folder, home) as running:
        monkeypatch.setenv("SPARTANC_SSH_COMMAND", running.ssh_command)
        yield running


def store(server):
    return server.home / ".cache/spartanc-device/files"


def stored(server):
    return {path.name for path in store(server).iterdir()}


def zero(file):
    """What stands there is lost, its size and name are not."""
    file.write_bytes(bytes(file.stat().st_size))


def jobs(server):
    return list((server.home / ".cache/spartanc-device/jobs").iterdir())


def test_logits_over_ssh_agree_with_eager_and_nothing_is_left(tiny, server):
    path, module = tiny
    rows = tiny_rows()
    got = np.stack(SshDevice(server.device).run(path.parent, path, rows, threads=1))
    assert np.abs(got - np.stack(eager_logits(module, rows))).max() < 1e-5
    assert jobs(server) == []
    assert server.programs() == []


def test_only_what_changed_is_sent_again(tiny, server, monkeypatch):
    sent = []
    send = SshWire.send

    def counting(self, files, folder):
        sent.append({path.name for path in files.values()})
        send(self, files, folder)

    monkeypatch.setattr(SshWire, "send", counting)
    device = SshDevice(server.device)
    device.run(tiny[0].parent, tiny[0], tiny_rows(4))
    first = set().union(*sent)
    sent.clear()
    device.run(tiny[0].parent, tiny[0], tiny_rows(4, seed=7))
    assert {COMMAND, "tiny.pte", "rows-0.safetensors"} <= first
    assert set().union(*sent) == {"rows-0.safetensors"}


def test_a_file_that_was_damaged_on_the_way_does_not_enter_the_store(tiny, server, monkeypatch):
    def damage(self, files, folder):
        folder = Path(folder.replace("$HOME", str(server.home)))
        for name in files:
            (folder / name).write_bytes(b"damaged")

    monkeypatch.setattr(SshWire, "send", damage)
    with pytest.raises(DeviceError):
        SshDevice(server.device).run(tiny[0].parent, tiny[0], tiny_rows(1))
    assert stored(server) == set()
    assert jobs(server) == []


def test_a_store_that_a_power_cut_emptied_is_sent_anew(tiny, server):
    device = SshDevice(server.device)
    expected = device.run(tiny[0].parent, tiny[0], tiny_rows(2))
    names = stored(server)
    assert len(names) >= 3
    for number, name in enumerate(sorted(names)):
        os.truncate(store(server) / name, number % 2 * 100)
    again = device.run(tiny[0].parent, tiny[0], tiny_rows(2))
    np.testing.assert_array_equal(np.stack(again), np.stack(expected))
    assert stored(server) == names
    assert all(file_digest(store(server) / name) == name for name in names)


def test_a_stored_file_of_the_right_size_is_hashed_after_a_boot(tiny, server):
    device = SshDevice(server.device)
    device.run(tiny[0].parent, tiny[0], tiny_rows(1))
    for name in stored(server):
        zero(store(server) / name)
    checked = server.home / ".cache/spartanc-device/checked"
    assert checked.read_text() == Path("/proc/sys/kernel/random/boot_id").read_text()
    checked.write_text("the boot before\n")
    device.run(tiny[0].parent, tiny[0], tiny_rows(1))
    assert all(file_digest(store(server) / name) == name for name in stored(server))


def test_damage_within_one_boot_fails_one_job_and_no_second(tiny, server):
    device = SshDevice(server.device)
    device.run(tiny[0].parent, tiny[0], tiny_rows(1))
    zero(store(server) / file_digest(tiny[0]))
    with pytest.raises(SpartancError):
        device.run(tiny[0].parent, tiny[0], tiny_rows(1))
    assert len(device.run(tiny[0].parent, tiny[0], tiny_rows(1))) == 1


def test_a_store_that_another_client_cleared_is_filled_again(tiny, server):
    device = SshDevice(server.device)
    with device.place(tiny[0].parent) as place:
        place.put(tiny[0])
        for name in stored(server):
            (store(server) / name).unlink()
        again = Path(place.put(tiny[0]).replace("$HOME", str(server.home)))
        assert file_digest(again) == file_digest(tiny[0])
    assert stored(server) == {file_digest(tiny[0])}  # what is gone is not touched into being


@pytest.mark.parametrize("name", ["runtime", "incoming", "files", "-x", "it's a $HOME", os.fsdecode(b"caf\xe9")])
def test_a_folder_may_have_any_name_and_comes_whole(tiny, server, tmp_path, name):
    folder = tmp_path / name
    (folder / "tasks").mkdir(parents=True)
    shutil.copyfile(tiny[0], folder / "model.pte")
    (folder / "tasks" / "-a 'task'").write_text("a task")
    with SshDevice(server.device).place(folder) as place:
        there = Path(place.put(folder).replace("$HOME", str(server.home), 1))
        assert there.name == name
        assert found_in(there) == found_in(folder)
        assert place.execute(["info", f"{place.put(folder)}/model.pte"]).code == 0
    assert jobs(server) == []


@pytest.mark.parametrize("word", [".", "..", "../bundle/tasks/.."])
def test_a_folder_may_be_given_by_where_we_stand(tiny, server, tmp_path, monkeypatch, word):
    (tmp_path / "bundle" / "tasks").mkdir(parents=True)
    shutil.copyfile(tiny[0], tmp_path / "bundle" / "model.pte")
    monkeypatch.chdir(tmp_path / "bundle" / ("tasks" if word == ".." else ""))
    with SshDevice(server.device).place(Path(word)) as place:
        there = place.put(Path(word))
        assert Path(there).name == "bundle"
        assert place.execute(["info", f"{there}/model.pte"]).code == 0
    assert jobs(server) == []
    assert {path.name for path in (server.home / ".cache/spartanc-device").iterdir()} == {"files", "checked", "jobs"}


def test_a_link_is_sent_as_what_it_leads_to(tiny, server, tmp_path):
    (tmp_path / "link.pte").symlink_to(tiny[0])
    with SshDevice(server.device).place(tmp_path) as place:
        assert place.execute(["info", place.put(tmp_path / "link.pte")]).code == 0
    assert file_digest(tiny[0]) in stored(server)


def test_a_folder_of_400_files_comes_whole(tiny, server, tmp_path):
    folder = many_files(tmp_path / "fleet", 400)
    with SshDevice(server.device).place(folder) as place:
        there = Path(place.put(folder).replace("$HOME", str(server.home), 1))
        assert found_in(there) == found_in(folder)
    assert jobs(server) == []


def test_an_unreachable_host_is_one_clear_error(tiny, server):
    server.process.terminate()
    server.process.wait()
    with pytest.raises(DeviceError, match="can't be reached") as error:
        SshDevice(server.device).run(tiny[0].parent, tiny[0], tiny_rows(1))
    assert error.value.exit_code == 5


def test_a_key_that_is_refused_is_one_clear_error(tiny, server, tmp_path):
    (tmp_path / "sshd" / "client_key.pub").write_text("")
    with pytest.raises(DeviceError, match="Permission denied"):
        SshDevice(server.device).run(tiny[0].parent, tiny[0], tiny_rows(1))


def test_a_connection_lost_in_the_middle_is_an_error_and_nothing_stays(tiny, server):
    device = SshDevice(server.device)
    failures = []

    def measure():
        try:
            with device.place(tiny[0].parent) as place:
                program = place.put(tiny[0])
                words = ["bench", program, "--length", "5", "--seconds", "60", "--precision", "0"]
                device.check(place.execute([*words, "--max-runs", "1000000"]))
        except Exception as error:
            failures.append(error)

    worker = threading.Thread(target=measure)
    worker.start()
    wait_until(lambda: bool(server.programs()))
    server.drop_connections()
    worker.join(timeout=30)
    assert not worker.is_alive()
    assert isinstance(failures[0], DeviceError), failures
    assert "lost" in str(failures[0])
    wait_until(lambda: not server.programs())


def test_a_program_that_dies_on_the_device_is_an_error_with_the_signal(tiny, server):
    device = SshDevice(server.device)

    def kill_it():
        wait_until(lambda: bool(server.programs()))
        for pid in server.programs():
            os.kill(pid, 9)

    killer = threading.Thread(target=kill_it)
    with device.place(tiny[0].parent) as place:
        program = place.put(tiny[0])
        killer.start()
        done = place.execute(["bench", program, "--length", "5", "--precision", "0", "--max-runs", "1000000"])
    killer.join()
    with pytest.raises(DeviceError, match="SIGKILL"):
        device.check(done)
    assert jobs(server) == []


def test_a_runtime_for_another_processor_is_named(tiny, server, tmp_path):
    bundle = tmp_path / "bundle"
    (bundle / "runtime").mkdir(parents=True)
    shutil.copyfile(tiny[0], bundle / "model.pte")
    (bundle / "runtime" / COMMAND).write_bytes(b"\x7fELF" + b"\0" * 14 + (183).to_bytes(2, "little"))
    with pytest.raises(DeviceError, match=r"is for aarch64, device .* is x86_64"):
        SshDevice(server.device).run(bundle, bundle / "model.pte", tiny_rows(1))
    assert jobs(server) == []


def test_a_full_disk_is_named_and_the_job_is_gone(tiny, server):
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(server.home)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("mounting a small disk needs root")
    try:
        with pytest.raises(DeviceError, match="disk is full"):
            SshDevice(server.device).run(tiny[0].parent, tiny[0], tiny_rows(1))
        assert jobs(server) == []
    finally:
        subprocess.run(["umount", "-l", str(server.home)], check=True)


def test_what_the_program_refuses_is_a_usage_error(tiny, server):
    long_row = (np.ones((1, 999), np.int64), np.ones((1, 999), np.int64))
    with pytest.raises(UsageError, match="dimension 1"):
        SshDevice(server.device).run(tiny[0].parent, tiny[0], [long_row])


@pytest.mark.parametrize(
    "name", ["ssh://", "ssh:host", "ssh://host/path", "ssh://a:b@host", "ssh://host:nan", "ssh://-oProxyCommand=x"]
)
def test_a_name_that_is_no_address_is_refused(name):
    with pytest.raises(UsageError):
        find_device(name, "rpi4")


def test_missing_ssh_names_the_package(monkeypatch, tiny):
    monkeypatch.delenv("SPARTANC_SSH_COMMAND", raising=False)
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(MissingToolError) as error:
        SshDevice("ssh://127.0.0.1:1").run(tiny[0].parent, tiny[0], tiny_rows(1))
    assert "openssh-client" in error.value.hint


def wait_until(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)
