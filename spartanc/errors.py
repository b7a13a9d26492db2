"""Every error that a user can cause, as one tree.

    SpartancError
    ├── UsageError            2  wrong use; unreadable, malformed or altered input
    ├── UnsupportedModelError 3  a model that spartanc does not know how to compile
    ├── CompileError          4  a stage of the pipeline failed
    ├── MissingToolError      5  a target, toolchain or device is missing
    └── GateError             6  it ran and missed a gate (parity, accuracy, latency, size)

A message says what was wrong and where, with values in backticks; `hint` says what to do next.

Beside the tree stands Interrupted, a KeyboardInterrupt that knows what it left behind.
"""

from __future__ import annotations


class SpartancError(Exception):
    """Base of all errors that end a command; `exit_code` is the process's exit status."""

    exit_code = 1

    def __init__(self, message: str, hint: str | None = None):
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message}\nhint: {self.hint}"


class UsageError(SpartancError):
    exit_code = 2


class UnsupportedModelError(SpartancError):
    exit_code = 3


class CompileError(SpartancError):
    exit_code = 4


class MissingToolError(SpartancError):
    exit_code = 5


class GateError(SpartancError):
    exit_code = 6


class Interrupted(KeyboardInterrupt):
    """Ctrl-C where something is there to go on from; `goes_on` says whether the same command with --resume does."""

    def __init__(self, message: str, goes_on: bool = False):
        super().__init__(message)
        self.goes_on = goes_on
