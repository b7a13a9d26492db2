"""How a server starts, says that it is ready, and stops."""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from support.bundles import make_bundle, seal
from support.compiled import softmax
from support.models import tiny_tokenizer
from support.programs import eager_logits, tiny_rows
from support.service import Client, Served, command, line_of, require_same, served

DOCS = Path(__file__).parents[3] / "docs"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "socket"


def test_a_manager_is_told_when_it_is_ready_and_when_it_stops(kind, fleet, path, tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(60)
        server = Served(kind, fleet.runtime, fleet.path, path, NOTIFY_SOCKET=str(tmp_path / "notify"))
        try:
            assert manager.recv(100).splitlines()[0] == b"READY=1"
            with Client(path) as client:
                assert client.ask(id=1, ask="status")["status"] == "ready"
            server.process.terminate()
            assert manager.recv(100) == b"STOPPING=1"
            assert server.stop() == 0
        finally:
            server.process.kill()
            server.process.communicate()


def test_a_manager_in_the_abstract_namespace_is_told_too(kind, fleet, path, tmp_path):
    name = f"spartanc-test-{tmp_path}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0" + name)
        manager.settimeout(60)
        with served(kind, fleet.runtime, fleet.path, path, NOTIFY_SOCKET=f"@{name}"):
            assert manager.recv(100).startswith(b"READY=1")


def test_sigterm_lets_answers_under_way_be_given(kind, fleet, path, questions):
    with served(kind, fleet.runtime, fleet.path, path) as server, Client(path) as client, Client(path) as other:
        other.send(b'{"id":')  # half a line keeps nothing open
        lines = b"".join(line_of(id=number, **request) for number, (request, _) in enumerate(questions))
        assert len(lines) < 16 << 10
        client.send(lines)
        first = client.answer()  # so all of them were read
        server.process.terminate()
        for number, (_, expected) in enumerate(questions):
            require_same(first if number == 0 else client.answer(), number, expected)
        assert client.answer() is None
        assert server.stop() == 0
        assert not path.exists()


def test_a_stopping_server_does_not_wait_for_who_never_reads(kind, fleet, path):
    with served(kind, fleet.runtime, fleet.path, path, "--patience", "1") as server, Client(path) as client:
        client.socket.setblocking(False)
        try:
            while True:
                client.send(line_of(id="x" * 200, ask="status") * 100)
        except BlockingIOError:
            pass
        started = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - started < 10
        assert not path.exists()


def test_a_dead_servers_file_is_replaced_and_a_living_ones_refused(kind, fleet, path):
    with served(kind, fleet.runtime, fleet.path, path) as first:
        first.process.kill()
        first.process.wait()
        assert path.is_socket()
    with served(kind, fleet.runtime, fleet.path, path) as second:
        done = subprocess.run(command(kind, fleet.runtime, fleet.path, path), capture_output=True, text=True)
        assert done.returncode == 2
        assert f"`{path}`: another server answers there" in done.stderr
        with Client(path) as client:
            assert client.ask(id=1, ask="status")["status"] == "ready"
        path.unlink()
        path.write_text("somebody else's")
        assert second.stop() == 0
    assert path.read_text() == "somebody else's"
    done = subprocess.run(command(kind, fleet.runtime, fleet.path, path), capture_output=True, text=True)
    assert done.returncode == 2 and "no socket" in done.stderr
    assert path.read_text() == "somebody else's"


def test_of_servers_that_start_at_once_over_a_dead_ones_file_one_lives(fleet, path):
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    servers = [Served("native", fleet.runtime, fleet.path, path) for _ in range(6)]
    try:
        servers[0].path = path
        end = time.monotonic() + 60
        while sum(server.process.poll() is None for server in servers) > 1:
            assert time.monotonic() < end
            time.sleep(0.02)
        (alive,) = [server for server in servers if server.process.poll() is None]
        with Client(path) as client:
            assert client.ask(id=1, ask="status")["status"] == "ready"
        assert alive.stop() == 0
        assert sorted(server.process.returncode for server in servers) == [0, 2, 2, 2, 2, 2]
    finally:
        for server in servers:
            server.process.kill()
            server.process.communicate()


def test_a_bundle_of_one_task_answers_without_its_name(kind, fleet, path, tiny, tmp_path):
    program, module = tiny
    bundle = make_bundle(tmp_path / "bundle", program)
    with served(kind, fleet.runtime, bundle, path), Client(path) as client:
        for ids, _ in tiny_rows():
            scores = softmax(eager_logits(module, [(ids, _)])[0])
            expected = {"label": ["no", "yes", "maybe"][scores.argmax()]}
            expected["scores"] = dict(zip(["no", "yes", "maybe"], scores, strict=True))
            require_same(client.ask(id=1, input_ids=ids[0].tolist()), 1, expected)
        assert "one task" in client.ask(id=1, task="no", input_ids=[1])["error"]
        assert client.ask(id=1, ask="status")["tasks"] == []


def test_the_client_that_the_docs_show_gets_an_answer(fleet, path, tiny, tmp_path):
    bundle = make_bundle(tmp_path / "bundle", tiny[0])
    (bundle / "tokenizer.json").write_text(tiny_tokenizer())
    seal(bundle)
    (example,) = re.findall(r"```python\n(.*?)```", (DOCS / "service.md").read_text(), re.DOTALL)
    assert "/run/spartan/socket" in example
    with served("python", fleet.runtime, bundle, path):
        example = example.replace("/run/spartan/socket", str(path))
        done = subprocess.run([sys.executable, "-c", example], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "'label': " in done.stdout


def test_the_unit_starts_what_is_beside_it_with_options_that_it_has(fleet):
    unit = (fleet.runtime / "spartan.service").read_text()
    (native,) = re.findall(r"^ExecStart=/opt/spartan/bundle/runtime/(.*)$", unit, re.MULTILINE)
    (python,) = re.findall(r"^# +ExecStart=\S+ /opt/spartan/bundle/runtime/(.*)$", unit, re.MULTILINE)
    for program, *words in (native.split(), python.split()):
        assert (fleet.runtime / program).is_file()
        assert words[0] == "serve" and words[-2:] == ["--socket", "/run/spartan/socket"]


def test_a_program_that_fails_is_an_error_and_the_server_goes_on(kind, fleet, path, tiny, tmp_path):
    """This bundle does not say how large its vocabulary is, so the program finds out."""
    bundle = make_bundle(tmp_path / "bundle", tiny[0])
    with served(kind, fleet.runtime, bundle, path), Client(path) as client:
        before = client.ask(id=1, input_ids=[1, 2])
        assert "label" in before
        for _ in range(3):
            assert "failed while it ran" in client.ask(id=1, input_ids=[1, 5000])["error"]
            assert client.ask(id=1, input_ids=[1, 2]) == before


def test_a_damaged_task_is_refused_by_its_name_and_the_other_answers(kind, fleet, path, questions, tmp_path):
    # The message of the Python server holds the path, which may be no text; the answer is.
    copy = tmp_path / (os.fsdecode(b"caf\xe9") if kind == "python" else "fleet")
    shutil.copytree(fleet.path, copy)
    (copy / "tasks" / "score.safetensors").write_bytes(b"torn")
    with served(kind, fleet.runtime, copy, path), Client(path) as client:
        assert client.ask(id=1, ask="status")["damaged"] == ["score"]
        assert "`score`" in client.ask(id=1, task="score", input_ids=[1])["error"]
        request, expected = next(each for each in questions if each[0]["task"] == "three")
        require_same(client.ask(id=1, **request), 1, expected)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"path": "x" * 108}, "1 to 107 bytes"),
        ({"path": "/does/not/exist/socket"}, "No such file"),
        ({"bundle": "/does/not/exist"}, "exist"),
    ],
)
def test_wrong_use_is_exit_2_with_a_message(kind, fleet, path, change, words):
    given = {"bundle": fleet.path, "path": path} | change
    done = subprocess.run(command(kind, fleet.runtime, **given), capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ") and words in done.stderr, done.stderr
    assert not path.exists()
