"""Writes the conformance corpus: bundles and task files that every reader takes, and ones that every reader refuses.

    python tests/golden/bundles/make.py

    accept/NAME/, refuse/NAME/      bundle/ or task.safetensors, and reason.txt: one line

A task file belongs to the fleet in accept/fleet. `reason.txt` of a refused case is `WORD: what is wrong`; every
reader's message contains WORD. tests/runtime_py/test_conformance.py runs the Python, native and Java readers on them.

The formats are written here by hand, from docs/formats, and not with the writers in runtime_py and compiler. Programs
are stubs: a reader opens a bundle without loading its program. The result is the same on every machine.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import bundle_cases
import task_cases
from writing import Bundle


def write_case(folder: Path, case: Bundle | bytes, reason: str) -> None:
    folder.mkdir(parents=True)
    (folder / "reason.txt").write_text(reason + "\n", encoding="utf-8")
    if isinstance(case, bytes):
        (folder / "task.safetensors").write_bytes(case)
    else:
        case.write(folder / "bundle")


def write_corpus(out: Path) -> None:
    """The whole corpus in `out`, in the place of one that was there."""
    for verdict in ("accept", "refuse"):
        shutil.rmtree(out / verdict, ignore_errors=True)
    for cases in (bundle_cases, task_cases):
        for name, (case, reason) in cases.ACCEPT.items():
            write_case(out / "accept" / name, case, reason)
        for name, (case, word, reason) in cases.REFUSE.items():
            write_case(out / "refuse" / name, case, f"{word}: {reason}")


if __name__ == "__main__":
    write_corpus(Path(__file__).parent)
