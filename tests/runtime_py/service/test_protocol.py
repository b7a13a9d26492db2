"""One protocol, two servers: what is answered, and what is refused without harm to others."""

import math
import signal
import socket
import threading
import time
from contextlib import suppress

import pytest

from support.compiled import MAX_LENGTH
from support.service import TASKS, Client, line_of, load, require_same, served


def test_ids_are_answered_as_eager_does(client, questions):
    for number, (request, expected) in enumerate(questions[:10]):
        require_same(client.ask(id=number, **request), number, expected)


def test_the_status_says_what_is_served(client, kind):
    status = client.ask(id="now", ask="status")
    takes = ["input_ids"] if kind == "native" else ["text", "input_ids"]
    assert status.pop("answers") >= 0 and status.pop("clients") >= 1
    assert status == {
        "id": "now", "status": "ready", "protocol": 1, "takes": takes,
        "max_length": MAX_LENGTH, "tasks": list(TASKS), "damaged": [],
    }  # fmt: skip


@pytest.mark.parametrize("id", [0, 2**53 - 1, "", "a", 'é "\\ \n \U0001f600', "x" * 256])
def test_an_id_comes_back_as_it_was(client, id):
    assert client.ask(id=id, task="none", input_ids=[1])["id"] == id
    assert client.ask(id=id, ask="status")["id"] == id


IDS = '"id":7,"task":"three","input_ids":'
REFUSED = {
    "": (None, "JSON"),
    "{": (None, "JSON"),
    "hello": (None, "JSON"),
    "[1]": (None, "object"),
    "3": (None, "object"),
    '{"id":7} x': (None, "JSON"),
    '{"id":7,"id":8}': (None, "twice"),
    '{"id":"\\ud800"}': (None, "surrogate"),
    '{"id":NaN}': (None, "JSON"),
    "[" * 1000: (None, "JSON"),
    "[" * 100_000: (None, "JSON"),
    "{}": (None, "`id`"),
    '{"id":null,"ask":"status"}': (None, "`id`"),
    '{"id":1.0,"ask":"status"}': (None, "`id`"),
    '{"id":-1,"ask":"status"}': (None, "`id`"),
    '{"id":true,"ask":"status"}': (None, "`id`"),
    '{"id":9007199254740992,"ask":"status"}': (None, "`id`"),
    '{"id":["a"],"ask":"status"}': (None, "`id`"),
    f'{{"id":"{"x" * 257}","ask":"status"}}': (None, "`id`"),
    '{"id":"a\\u0000b","ask":"status"}': (None, "`id`"),
    '{"id":7}': (7, "needs"),
    '{"id":7,"ask":"time"}': (7, "`ask`"),
    '{"id":7,"ask":null}': (7, "`ask`"),
    '{"id":7,"ask":"status","task":"three"}': (7, "`ask`"),
    '{"id":7,"tsak":"three","input_ids":[1]}': (7, "`tsak`"),
    '{"id":7,"task":null,"input_ids":[1]}': (7, "`task`"),
    '{"id":7,"task":3,"input_ids":[1]}': (7, "`task`"),
    '{"id":7,"task":"three\\u0000","input_ids":[1]}': (7, "`task` must be a text"),
    '{"id":7,"input_ids":[1]}': (7, "it has three, score"),
    '{"id":7,"task":"four","input_ids":[1]}': (7, "no task `four`: it has three, score"),
    '{"id":7,"task":"","input_ids":[1]}': (7, "no task"),
    '{"id":7,"task":"tasks/three.safetensors","input_ids":[1]}': (7, "no task"),
    '{"id":7,"task":"/etc/passwd","input_ids":[1]}': (7, "no task"),
    f"{{{IDS}[]}}": (7, "`input_ids`"),
    f"{{{IDS}null}}": (7, "`input_ids`"),
    f'{{{IDS}"1"}}': (7, "`input_ids`"),
    f"{{{IDS}[[1]]}}": (7, "position 1"),
    f"{{{IDS}[1,2.0]}}": (7, "position 2"),
    f"{{{IDS}[1,-2]}}": (7, "position 2"),
    f"{{{IDS}[true]}}": (7, "position 1"),
    f"{{{IDS}[1,1e400]}}": (7, "position 2"),
    f"{{{IDS}[1,18446744073709551616]}}": (7, "position 2"),
    f"{{{IDS}[1,9007199254740991]}}": (7, "vocabulary"),
    f"{{{IDS}[1,2,64]}}": (7, "id `64` at position 3"),
    f"{{{IDS}{[1] * (MAX_LENGTH + 1)}}}": (7, f"at most {MAX_LENGTH}"),
    f"{{{IDS}{[1] * 5000}}}": (7, f"at most {MAX_LENGTH}"),
}


@pytest.mark.parametrize("line", REFUSED, ids=lambda line: line[:40])
def test_what_breaks_a_rule_is_an_error_and_the_next_line_is_answered(client, questions, line):
    id, words = REFUSED[line]
    answer = client.ask_line(line.encode())
    assert set(answer) == {"id", "error"} and answer["id"] == id
    assert words in answer["error"] and "row" not in answer["error"]
    request, expected = questions[0]
    require_same(client.ask(id=1, **request), 1, expected)


def test_a_message_quotes_no_more_than_a_part_of_what_was_sent(client):
    assert len(client.ask_line(b'{"id":1,"' + "é".encode() * 400_000 + b'":2}')["error"]) < 1100


def test_bytes_that_are_no_text_are_an_error(client):
    for line in (b"\xff", b'{"id":"\xc0\x80"}', b'\xef\xbb\xbf{"id":1,"ask":"status"}', b'{"id":"\0"}'):
        answer = client.ask_line(line)
        assert answer["id"] is None and "JSON" in answer["error"]


def test_lines_may_end_in_cr_lf_and_come_byte_by_byte(client):
    for byte in b'{"id":1,"ask":"status"}\r\n':
        client.send(bytes([byte]))
    assert client.answer()["id"] == 1


def test_the_longest_line_is_taken_and_a_longer_one_ends_the_connection(server, unharmed):
    sound = b'{"id":1,"ask":"status"}'
    with unharmed(server), Client(server.path) as client:
        assert client.ask_line(sound.ljust(1 << 20))["status"] == "ready"
        client.send(sound + b"\n" + sound.ljust((1 << 20) + 1) + b"\n")
        assert client.answer()["status"] == "ready"
        refused = client.answer()
        assert refused["id"] is None and "1048576 bytes" in refused["error"]
        assert ends(client)


def test_10_megabytes_without_a_line_feed_are_not_kept(server, unharmed):
    with unharmed(server), Client(server.path) as client:
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            client.send(b"x" * 10_000_000)
        assert "1048576 bytes" in client.answer()["error"]
        assert ends(client)


def test_half_a_line_is_refused_at_its_end(server, unharmed):
    with unharmed(server), Client(server.path) as client:
        client.send(b'{"id":1,"ask":"status"}\n{"id":2,')
        client.socket.shutdown(socket.SHUT_WR)
        assert client.answer()["id"] == 1
        assert "no line feed" in client.answer()["error"]
        assert ends(client)


def test_half_a_line_is_refused_once_patience_is_lost(impatient, unharmed):
    """A byte now and then does not keep it alive."""
    with unharmed(impatient), Client(impatient.path) as client:
        started = time.monotonic()
        with suppress(BrokenPipeError):
            while time.monotonic() < started + 20:
                client.send(b"[")
                time.sleep(0.1)
        assert 1 <= time.monotonic() - started < 20
        assert "within 1 s" in client.answer()["error"]
        assert ends(client)


def test_a_line_that_was_sent_at_once_waits_for_one_turn(server):
    """However many another client's requests wait beside it."""
    with Client(server.path) as busy, Client(server.path) as client:
        busy.ask(id=0, ask="status")
        before = client.ask(id=0, ask="status")["answers"]
        server.process.send_signal(signal.SIGSTOP)  # so that all is there when it looks
        busy.send(line_of(id=1, ask="status") * 50)
        client.send(line_of(id=1, ask="status").strip().ljust(100_000) + b"\n")
        server.process.send_signal(signal.SIGCONT)
        assert client.answer()["answers"] - before <= 3


def test_what_the_server_computes_for_others_costs_nobody_patience(kind, fleet, slow_bundle, tmp_path):
    with (
        served(kind, fleet.runtime, slow_bundle, tmp_path / "s", "--patience", "1") as server,
        Client(server.path) as busy,
        Client(server.path) as client,
    ):
        started = time.monotonic()
        busy.ask(id=0, input_ids=[1])
        count = math.ceil(2 / (time.monotonic() - started))
        busy.send(line_of(id=1, input_ids=[1]) * count)
        client.send(b'{"id":1,')
        time.sleep(1.4)
        client.send(b'"ask":"status"}\n')
        assert client.answer().get("status") == "ready"
        assert all("label" in busy.answer() for _ in range(count))


def test_a_client_that_never_reads_is_let_go(impatient, unharmed):
    with unharmed(impatient), Client(impatient.path) as client, pytest.raises((BrokenPipeError, ConnectionResetError)):
        while True:
            client.send(line_of(id="x" * 200, ask="status") * 100)


def test_a_client_that_reads_late_gets_everything(server, unharmed):
    """More than the server keeps unread at once; it stops reading, and goes on when the client does."""
    count = 4000
    with unharmed(server), Client(server.path) as client:
        lines = b"".join(line_of(id=f"{number}{'x' * 200}", ask="status") for number in range(count))
        sending = threading.Thread(target=client.send, args=(lines,))
        sending.start()
        time.sleep(0.3)
        for number in range(count):
            assert client.answer()["id"] == f"{number}{'x' * 200}"
        sending.join()


def test_a_client_that_asks_and_goes_harms_nobody(server, unharmed, questions):
    with unharmed(server):
        for _ in range(20):
            with Client(server.path) as client:
                client.send(line_of(id=1, **questions[0][0]) * 20)


def test_a_quiet_client_stays(impatient):
    with Client(impatient.path) as client:
        time.sleep(1.5)
        assert client.ask(id=1, ask="status")["status"] == "ready"


def test_64_clients_are_served_and_the_next_is_told(server):
    clients = []
    try:
        end = time.monotonic() + 20
        while len(clients) < 64:  # earlier tests' clients may not be gone yet
            another = Client(server.path)
            if "error" in another.ask(id=1, ask="status"):
                another.__exit__()
                assert time.monotonic() < end
                continue
            clients.append(another)
        with Client(server.path) as late:
            refused = late.answer()
            assert refused["id"] is None and "64 clients" in refused["error"]
            assert ends(late)
        assert clients[0].ask(id=2, ask="status")["clients"] == 64
        clients.pop().__exit__()
        while "clients" not in (answer := Client(server.path).ask(id=3, ask="status")):
            assert time.monotonic() < end
        assert answer["clients"] <= 64
    finally:
        for each in clients:
            each.__exit__()


def test_8_clients_get_400_answers_none_lost_none_mixed_up(server, questions):
    load(server.path, questions, 8, 50)


@pytest.mark.long
def test_8_clients_get_10_000_answers_none_lost_none_mixed_up(server, questions):
    load(server.path, questions, 8, 1250)


def ends(client):
    """Whether the server closed the connection; what it had not read may make that a reset."""
    try:
        return client.answer() is None
    except ConnectionResetError:
        return True


def test_texts_are_answered_by_the_python_server_and_refused_by_the_native_one(client, kind, fleet):
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(fleet.models["three"].tokenizer)
    for text in (("where is the card",), ("who was born", "in that city"), ("good " * 99,)):
        request = dict(zip(("text", "text_pair"), text, strict=False))
        answer = client.ask(id=1, task="three", **request)
        if kind == "native":
            assert "input_ids" in answer["error"]
            continue
        assert answer.pop("truncated") == (len(text[0]) > 100)
        tokenizer.enable_truncation(MAX_LENGTH)
        require_same(answer, 1, fleet.expected("three", tokenizer.encode(*text).ids))
    if kind == "python":
        assert client.ask(id=1, task="three", text="  ")["error"] == "the text is empty"
        for name in ("text", "text_pair"):
            request = {"text": "a", name: "a\0b"}
            assert f"`{name}` must be a text" in client.ask(id=1, task="three", **request)["error"]
        assert "`text`" in client.ask(id=1, task="three", text=["a"])["error"]
        assert "`text_pair`" in client.ask(id=1, task="three", input_ids=[1], text_pair="a")["error"]
        assert "not both" in client.ask(id=1, task="three", input_ids=[1], text="a")["error"]
