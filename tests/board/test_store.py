"""The store of files on a whole board: two clients at once, a full disk, a disk that can't be written."""

import threading
from contextlib import contextmanager

import pytest

from spartanc.compiler.run import run_bundle
from spartanc.runtime_py.devices.device import DeviceError

TEXT = {"text": "where is the card"}
BASE = ".cache/spartanc-device"


@contextmanager
def in_its_place(board, options):
    """Another disk where the store is."""
    board.run(f"mkdir -p {BASE} && mount -t tmpfs -o {options} tmpfs {BASE}")
    try:
        yield
    finally:
        board.run(f"umount -l {BASE}")


def test_two_clients_at_once_fill_one_store(board, compiled):
    board.run("rm -rf .cache")
    answers, failures = [], []

    def run():
        try:
            answers.append(run_bundle(compiled[2], **TEXT, device=board.device))
        except Exception as error:
            failures.append(error)

    clients = [threading.Thread(target=run) for _ in range(2)]
    for client in clients:
        client.start()
    for client in clients:
        client.join(300)
    assert failures == []
    assert answers[0] == answers[1]
    assert board.run(f"ls {BASE}/jobs") == ""
    assert all(line.split()[0] == line.split()[1] for line in board.run(f"cd {BASE}/files && sha256sum *").splitlines())


def test_a_full_disk_is_named_and_the_job_is_gone(board, compiled):
    with in_its_place(board, "size=4m"):
        with pytest.raises(DeviceError, match="disk is full"):
            run_bundle(compiled[2], **TEXT, device=board.device)
        assert board.run(f"ls {BASE}/jobs {BASE}/files | grep -v spartanc-device || true").split() == []


def test_a_disk_that_can_not_be_written_is_one_clear_error(board, compiled):
    with in_its_place(board, "ro"), pytest.raises(DeviceError, match="Read-only file system"):
        run_bundle(compiled[2], **TEXT, device=board.device)
