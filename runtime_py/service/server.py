"""Serves clients of a Unix socket, one request at a time, until it is told to stop."""

from __future__ import annotations

import json
import select
import signal
import socket
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from spartanc.errors import SpartancError
from spartanc.runtime_py.service.connection import Connection
from spartanc.runtime_py.service.line_buffer import LONGEST_LINE
from spartanc.runtime_py.service.listener import Listener
from spartanc.runtime_py.service.model import Model
from spartanc.runtime_py.service.notify import notify_manager
from spartanc.runtime_py.service.request import Id, RequestError, read_request

MOST_CLIENTS = 64
PATIENCE = 30.0  # seconds
_PROTOCOL = 1
_LONGEST_ERROR = 1000  # characters: a message may quote what a client sent
_PAUSE = 1.0  # seconds, after a connection could not be accepted
_GONE = select.POLLHUP | select.POLLERR | select.POLLNVAL


@contextmanager
def stop_signals() -> Iterator[socket.socket]:
    """SIGTERM and SIGINT as a socket that can be read from once one of them came.

    Afterwards they are ignored: the process is about to end, and a second one must not make a failure of that.
    """
    reading, writing = socket.socketpair()
    writing.setblocking(False)
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, lambda *_: None)
    signal.set_wakeup_fd(writing.fileno())
    try:
        yield reading
    finally:
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, signal.SIG_IGN)
        signal.set_wakeup_fd(-1)
        reading.close()
        writing.close()


class Server:
    """One thread waits for clients, reads, computes and answers: an inference has all threads of the pool, and there is
    nothing to lock. Clients take turns, a request each.

    stop: when it can be read from, `serve` ends. patience: seconds that a client may leave a line unfinished, or an
    answer unread, and that a stop may take before what is left is refused.
    """

    def __init__(self, model: Model, listener: Listener, stop: socket.socket, patience: float = PATIENCE) -> None:
        self._model = model
        self._listener = listener
        self._stop = stop
        self._patience = patience
        self._clients: list[Connection] = []
        self._next = 0  # whose turn it is
        self._answers = 0
        self._now = time.monotonic()
        self._worked = 0.0  # seconds that went into answers
        self._accepts_from = self._now
        self._stops_at: float | None = None

    def serve(self) -> None:
        """Answer until it is time to stop; then what was read by then, and remove the socket's file."""
        while not self._wait():
            self._answer_next()
            self._sweep()
        notify_manager("STOPPING=1")
        self._listener.close()
        self._stops_at = time.monotonic() + self._patience
        for client in self._clients:
            client.ended = True
        self._sweep()
        while self._clients and self._now < self._stops_at + _PAUSE:
            self._wait()
            self._answer_next()
            self._sweep()
        for client in self._clients:
            client.close()

    @property
    def _clients_now(self) -> float:
        """The time by which clients are judged. It stands still during an answer: whom the server leaves waiting,
        because it computes for another, has not been slow."""
        return self._now - self._worked

    def _wait(self) -> bool:
        """Wait until something is to be done; True if it is time to stop."""
        waiting = select.poll()
        wake = []
        if self._stops_at is not None:
            wake.append(self._stops_at + _PAUSE)
        else:
            waiting.register(self._stop, select.POLLIN)
            if self._now < self._accepts_from:
                wake.append(self._accepts_from)
            else:
                waiting.register(self._listener.socket, select.POLLIN)
        by_descriptor = {}
        for client in self._clients:
            events = (select.POLLIN if client.wants_input else 0) | (select.POLLOUT if client.wants_output else 0)
            waiting.register(client.socket, events)
            by_descriptor[client.socket.fileno()] = client
            if client.wants_output or client.has_part:
                wake.append(client.moved + self._patience + self._worked)
        seconds = 0.0 if any(client.has_line for client in self._clients) else None
        if seconds is None and wake:
            seconds = max(min(wake) - time.monotonic(), 0)
        found = waiting.poll(None if seconds is None else seconds * 1000 + (seconds > 0))
        self._now = time.monotonic()
        stop = False
        for descriptor, events in found:
            if descriptor in by_descriptor:
                self._move(by_descriptor[descriptor], events)
            elif descriptor == self._stop.fileno():
                stop = True
            else:
                self._accept()
        return stop

    def _move(self, client: Connection, events: int) -> None:
        if events & _GONE:
            client.hang_up()  # nobody is there to read an answer
            return
        if events & select.POLLIN:
            client.receive(self._clients_now)
        if events & select.POLLOUT:
            client.send(self._clients_now)

    def _accept(self) -> None:
        for _ in range(MOST_CLIENTS):
            try:
                accepted, _address = self._listener.socket.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                print(f"warning: a client could not be accepted: {error.strerror}", file=sys.stderr)
                self._accepts_from = self._now + _PAUSE  # it is still waiting, and would be seen at once again
                return
            client = Connection(accepted, self._clients_now)
            if len(self._clients) < MOST_CLIENTS:
                self._clients.append(client)
            else:
                what = f"{MOST_CLIENTS} clients are connected, and no more are served"
                client.answer_last(_error_line(None, what), self._clients_now)
                client.close()

    def _answer_next(self) -> None:
        for _ in self._clients:
            self._next = (self._next + 1) % len(self._clients)
            client = self._clients[self._next]
            if client.has_line:
                began = time.monotonic()
                answer = self._answer_to(client.take_line())
                self._now = time.monotonic()
                self._worked += self._now - began
                client.answer(answer, self._clients_now)
                return

    def _answer_to(self, line: bytes) -> bytes:
        id: Id = None
        try:
            request = read_request(line)
            id = request.id
            if self._stops_at is not None and self._now >= self._stops_at:
                return _error_line(id, "the server stops")
            members = self._status() if request.asks_status else self._model.answer(request)
            answer = _line({"id": id} | members)
        except RequestError as error:
            return _error_line(error.id, error.message)
        except SpartancError as error:
            return _error_line(id, error.message)
        except MemoryError:
            return _error_line(id, "out of memory")
        except Exception as error:  # a defect of ours, and no reason to leave the other clients
            traceback.print_exc()
            return _error_line(id, f"internal error: {error}")
        self._answers += 1
        return answer

    def _status(self) -> dict[str, Any]:
        status = {"status": "ready" if self._stops_at is None else "stopping", "protocol": _PROTOCOL}
        return status | self._model.status() | {"clients": len(self._clients), "answers": self._answers}

    def _sweep(self) -> None:
        """Refuse what clients may not do, and let go of those that are done."""
        now = self._clients_now
        for client in self._clients:
            waited = now - client.moved >= self._patience
            if client.has_too_long_line:
                client.answer_last(_error_line(None, f"a line has more than {LONGEST_LINE} bytes"), now)
            elif client.has_part and client.ended:
                what = "the last line has no line feed" if self._stops_at is None else "the server stops"
                client.answer_last(_error_line(None, what), now)
            elif client.has_part and waited:
                client.answer_last(_error_line(None, f"a line did not end within {self._patience:g} s"), now)
            elif client.wants_output and waited:
                client.hang_up()
        for client in self._clients:
            if client.done:
                client.close()
        self._clients = [client for client in self._clients if not client.done]


def _line(answer: dict[str, Any]) -> bytes:
    text = json.dumps(answer, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode(errors="replace") + b"\n"  # a path in a message may hold bytes that are no text


def _error_line(id: Id, what: str) -> bytes:
    return _line({"id": id, "error": what if len(what) <= _LONGEST_ERROR else f"{what[:_LONGEST_ERROR]} …"})
