"""`--go-on`: an interrupted run of the tests here leaves out what passed before, if no source has changed since.

The names of tests that passed are kept in the user's cache, in a file named by the digest of all sources.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from spartanc.base.cache import cache_directory

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("spartanc", "compiler", "passes", "models", "runtime_py", "tests/board", "tests/support")
SUFFIXES = (".py", ".cc", ".h", ".service", ".toml", ".txt")


class PassedBefore:
    """A plugin of pytest."""

    def __init__(self, goes_on: bool):
        self._goes_on = goes_on
        self._file = cache_directory() / "test-board" / f"passed-{_digest_of_sources()[:16]}"

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        if not self._goes_on or not self._file.is_file():
            return
        passed = set(self._file.read_text().splitlines())
        done = [item for item in items if item.nodeid in passed]
        config.hook.pytest_deselected(items=done)
        items[:] = [item for item in items if item.nodeid not in passed]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" and report.passed:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with self._file.open("a") as file:
                file.write(f"{report.nodeid}\n")


def _digest_of_sources() -> str:
    digest = hashlib.sha256()
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in SUFFIXES and path.is_file():
                digest.update(f"{path.relative_to(ROOT)}\n".encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
