"""One verdict by three readers: Python, the native command and Java agree on every bundle and task file of the corpus.

tests/golden/bundles/make.py says what the cases are; docs/formats says why.
"""

import filecmp
import os
import sys
from pathlib import Path

import pytest

from spartanc.errors import UsageError
from spartanc.runtime_py.bundle import open_bundle
from spartanc.runtime_py.task_file import find_task

CORPUS = Path(__file__).parents[1] / "golden" / "bundles"
FLEET = CORPUS / "accept" / "fleet" / "bundle"
CASES = sorted(path for verdict in ("accept", "refuse") for path in (CORPUS / verdict).iterdir())
names = pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.parent.name}/{case.name}")


def by_python(case: Path) -> str | None:
    """The message of the refusal; None if the case is taken."""
    try:
        if (case / "bundle").is_dir():
            open_bundle(case / "bundle")
        else:
            find_task(open_bundle(FLEET), case / "task.safetensors")
    except UsageError as error:
        return error.message
    return None


def require_verdict(case: Path, message: str | None) -> None:
    reason = (case / "reason.txt").read_text(encoding="utf-8").strip()
    if case.parent.name == "accept":
        assert message is None, f"{reason}: {message}"
    else:
        word, _, why = reason.partition(": ")
        assert message is not None, f"was taken, although: {why}"
        assert word in message, f"the message should name {word}: {message}"


@names
def test_python(case):
    require_verdict(case, by_python(case))


def test_the_corpus_is_what_its_script_writes(tmp_path):
    """Byte for byte, and small."""
    sys.path.insert(0, str(CORPUS))
    import make

    make.write_corpus(tmp_path)
    written = {path.relative_to(tmp_path) for path in tmp_path.rglob("*") if not path.is_dir() or path.is_symlink()}
    kept = {
        path.relative_to(CORPUS)
        for verdict in ("accept", "refuse")
        for path in (CORPUS / verdict).rglob("*")
        if not path.is_dir() or path.is_symlink()
    }
    assert written == kept
    for name in written:
        if (CORPUS / name).is_symlink():
            assert os.readlink(CORPUS / name) == os.readlink(tmp_path / name)
        else:
            assert filecmp.cmp(CORPUS / name, tmp_path / name, shallow=False), name
    assert sum((CORPUS / name).lstat().st_size for name in kept) < 1 << 20


def test_the_corpus_is_large_enough():
    counts = {verdict: len(list((CORPUS / verdict).iterdir())) for verdict in ("accept", "refuse")}
    assert counts["accept"] >= 10
    assert counts["refuse"] >= 40
