"""Bytes as they arrive from a client, cut into lines. No input and output of its own."""

from __future__ import annotations

LONGEST_LINE = 1 << 20  # bytes, its line feed not counted


class LineBuffer:
    def __init__(self, longest: int = LONGEST_LINE) -> None:
        self._longest = longest
        self._bytes = bytearray()
        self._end = -1  # where the next line ends; -1: nowhere yet

    def add(self, data: bytes) -> None:
        looked = len(self._bytes)
        self._bytes += data
        if self._end < 0:
            self._end = self._bytes.find(b"\n", looked)

    @property
    def has_line(self) -> bool:
        """Whether `take` gives a line."""
        return 0 <= self._end <= self._longest

    @property
    def is_too_long(self) -> bool:
        """Whether the next line has more bytes than it may; where it ends does not matter."""
        return (self._end if self._end >= 0 else len(self._bytes)) > self._longest

    @property
    def has_part(self) -> bool:
        """Whether bytes of a line are here that has not ended."""
        return self._end < 0 < len(self._bytes) <= self._longest

    def take(self) -> bytes:
        """The next line without its line feed; only if `has_line`."""
        line = bytes(self._bytes[: self._end])
        del self._bytes[: self._end + 1]
        self._end = self._bytes.find(b"\n")
        return line
