"""One client: lines that come, answers that go, and since when nothing of either has moved."""

from __future__ import annotations

import socket

from spartanc.runtime_py.service.line_buffer import LineBuffer

_READ_AT_ONCE = 16 << 10  # bytes
_MOST_UNREAD = 64 << 10  # bytes of answers; who leaves more unread gets no more


class Connection:
    """Takes over a socket. Times are seconds of a clock that goes forward, and stands still while the server computes.

    moved: when the part of a line that is here began, or the client last read what it was answered.
    ended: whether no more of what the client sends will be read.
    """

    def __init__(self, client: socket.socket, now: float) -> None:
        client.setblocking(False)
        self.socket = client
        self.moved = now
        self.ended = False
        self._lines = LineBuffer()
        self._output = bytearray()
        self._last = False
        self._broken = False

    @property
    def wants_input(self) -> bool:
        """Whether more input is of use: no whole line waits, and the client reads what it is answered."""
        waits = self._lines.has_line or self._lines.is_too_long
        return not (self.ended or self._broken or waits) and len(self._output) < _MOST_UNREAD

    @property
    def wants_output(self) -> bool:
        return bool(self._output)

    @property
    def has_line(self) -> bool:
        """Whether a line waits, and there is room for its answer."""
        return not (self._last or self._broken) and self._lines.has_line and len(self._output) < _MOST_UNREAD

    @property
    def has_too_long_line(self) -> bool:
        return not self._last and self._lines.is_too_long

    @property
    def has_part(self) -> bool:
        return not self._last and self._lines.has_part

    @property
    def done(self) -> bool:
        """Whether nothing is left to do."""
        waits = self._lines.has_line or self._lines.is_too_long
        return self._broken or (not self._output and (self._last or (self.ended and not waits)))

    def take_line(self) -> bytes:
        return self._lines.take()

    def receive(self, now: float) -> None:
        """Read what is there, up to the end of a line: what the client sent at once waits for no further turn."""
        while self.wants_input:
            try:
                data = self.socket.recv(_READ_AT_ONCE)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                self._broken = True
                return
            if not data:
                self.ended = True
                return
            begins = not self._lines.has_part
            self._lines.add(data)
            # Patience with a line counts from its first byte: a byte now and then does not keep it alive.
            if begins or not self._lines.has_part:
                self.moved = now

    def send(self, now: float) -> None:
        while self._output:
            try:
                sent = self.socket.send(self._output)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                self._broken = True
                return
            del self._output[:sent]
            self.moved = now

    def answer(self, line: bytes, now: float) -> None:
        """`line` has its line feed. It goes out as far as the client takes it, the rest later."""
        if not self._output:
            self.moved = now  # patience with a client that does not read begins here
        self._output += line
        self.send(now)

    def answer_last(self, line: bytes, now: float) -> None:
        """The last answer: nothing is read after it."""
        self.ended = self._last = True
        self.answer(line, now)

    def hang_up(self) -> None:
        """Nothing more goes either way."""
        self._broken = True

    def close(self) -> None:
        self.socket.close()
