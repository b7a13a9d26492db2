"""A fleet as a service of a whole board: systemd starts it with the bundle's own unit, and clients come over ssh."""

import re
import subprocess
import time
from contextlib import contextmanager

import numpy as np
import pytest
from board_machine import Board

from spartanc.runtime_py.bundle import open_bundle
from support.fleets import tiny_tasks
from support.service import Client, Fleet, line_of, load, require_same

BUNDLE = "/opt/spartan/bundle"


@pytest.fixture(scope="module")
def systemd_board(image, tmp_path_factory):
    board = Board(image, tmp_path_factory.mktemp("systemd-board"), init="/lib/systemd/systemd")
    board.boot()
    yield board
    board.cut()


@pytest.fixture(scope="module")
def questions(fleet):
    return Fleet(fleet, fleet / "runtime", tiny_tasks("bert")).questions(40, longest=open_bundle(fleet).max_length)


@pytest.fixture(scope="module")
def service(systemd_board, fleet):
    """The board with the unit installed, enabled and started, as docs/service.md says."""
    board = systemd_board
    board.run("mkdir -p /opt/spartan && echo 'spartan:x:900:' >>/etc/group")
    board.run("echo 'spartan:*:900:900::/nonexistent:/usr/sbin/nologin' >>/etc/passwd")
    board.send_folder(fleet, BUNDLE)
    board.run(f"cp {BUNDLE}/runtime/spartan.service /etc/systemd/system/ && sync")
    board.run("systemctl daemon-reload && systemctl enable --now spartan 2>&1 || journalctl -u spartan | tail; sync")
    return board


@contextmanager
def socket_here(board, folder):
    """The service's socket, forwarded to this machine."""
    here = folder / "socket"
    command = [*board.ssh_command.split(), "-N", "-o", "ExitOnForwardFailure=yes", "-L", f"{here}:/run/spartan/socket"]
    with subprocess.Popen([*command, "-p", str(board.port), "root@127.0.0.1"], stdin=subprocess.DEVNULL) as forwarding:
        try:
            end = time.monotonic() + 60
            while not here.is_socket():
                assert forwarding.poll() is None and time.monotonic() < end
                time.sleep(0.1)
            yield here
        finally:
            forwarding.terminate()
            here.unlink(missing_ok=True)


def state(board):
    return board.run("systemctl is-active spartan || true").strip()


def fact(board, name):
    return board.run(f"systemctl show spartan -P {name}").strip()


def test_systemd_says_that_it_is_active_when_it_answers(service, questions, tmp_path):
    assert state(service) == "active", service.run("journalctl -u spartan | tail -20")
    with socket_here(service, tmp_path) as path, Client(path) as client:
        assert client.ask(id=1, ask="status")["tasks"] == ["three", "pair", "score"]
        for number, (request, expected) in enumerate(questions[:10]):
            require_same(client.ask(id=number, **request), number, expected)


def test_its_sandbox_is_as_tight_as_systemd_can_say(service):
    """The parts that are exposed, of 10; a unit without a sandbox has 9.6."""
    said = service.run("systemd-analyze security spartan --no-pager")
    assert float(re.search(r"exposure level for spartan.service: ([\d.]+)", said)[1]) < 2
    assert fact(service, "User") == "spartan"
    assert service.run("stat -c '%a %U %G' /run/spartan/socket").split()[0][-1] == "0"  # nothing for others


def test_8_clients_get_their_answers(service, questions, tmp_path):
    with socket_here(service, tmp_path) as path:
        load(path, questions, 8, 63)


@pytest.mark.long
def test_8_clients_get_10_000_answers(service, questions, tmp_path):
    with socket_here(service, tmp_path) as path:
        load(path, questions, 8, 1250)


def resident_kb(board):
    return int(board.run(f"grep VmRSS /proc/{fact(board, 'MainPID')}/status").split()[1])


def swap_tasks(board, path, questions, count):
    """(resident kilobytes after a quarter of `count` requests, at the end), tasks and rows drawn at random."""
    generator = np.random.default_rng(5)
    after = {}
    with Client(path) as client:
        for number in range(count):
            request, expected = questions[generator.integers(len(questions))]
            require_same(client.ask(id=number, **request), number, expected)
            if number + 1 in (count // 4, count):
                after[number + 1] = resident_kb(board)
    return after[count // 4], after[count]


def test_2000_rows_with_tasks_swapped_at_random_take_no_more_memory(service, questions, tmp_path):
    with socket_here(service, tmp_path) as path:
        early, late = swap_tasks(service, path, questions, 2000)
    assert late <= early * 1.01


@pytest.mark.long
def test_100_000_rows_with_tasks_swapped_at_random_take_no_more_memory(service, questions, tmp_path):
    with socket_here(service, tmp_path) as path:
        early, late = swap_tasks(service, path, questions, 100_000)
    assert late <= early * 1.01


def test_it_is_started_again_if_it_is_killed(service, questions, tmp_path):
    before = fact(service, "MainPID")
    service.run("systemctl kill -s KILL spartan")
    wait_until(lambda: fact(service, "MainPID") not in (before, "0") and state(service) == "active")
    with socket_here(service, tmp_path) as path, Client(path) as client:
        require_same(client.ask(id=1, **questions[0][0]), 1, questions[0][1])


def test_it_stops_cleanly_with_a_client_that_is_half_done(service, tmp_path):
    with socket_here(service, tmp_path) as path, Client(path) as client:
        client.send(line_of(id=1, ask="status") + b'{"id":')
        assert client.answer()["id"] == 1
        service.run("systemctl stop spartan")
    assert fact(service, "Result") == "success"
    assert fact(service, "ExecMainStatus") == "0"
    assert service.run("ls /run/spartan 2>/dev/null || true") == ""
    service.run("systemctl start spartan")


def test_it_answers_after_a_power_cut_without_a_command(service, questions, tmp_path):
    service.run("sync")
    service.cut()
    service.boot()
    wait_until(lambda: state(service) == "active")
    with socket_here(service, tmp_path) as path, Client(path) as client:
        require_same(client.ask(id=1, **questions[0][0]), 1, questions[0][1])


def test_an_altered_bundle_is_not_served_and_not_tried_again(service):
    service.run(f"systemctl stop spartan && echo >>{BUNDLE}/tokenizer.json")
    said = service.run("systemctl start spartan 2>&1; sleep 2; journalctl -u spartan -b --no-pager | tail -20")
    assert "`tokenizer.json` has" in said
    assert state(service) == "failed"
    assert fact(service, "ExecMainStatus") == "2"
    assert fact(service, "NRestarts") == "0"


def wait_until(holds):
    end = time.monotonic() + 120
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.5)
