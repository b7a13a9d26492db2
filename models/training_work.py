"""The folder beside the output where a training keeps its checkpoints, and what may go on from them."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from spartanc.base.files import write_whole
from spartanc.base.locks import claimed
from spartanc.errors import UsageError

_STAMP = "identity.json"


def work_of(out: Path) -> Path:
    return out.with_name(f".{out.name}.training")


def is_first_process() -> bool:
    """Of several processes of one training, the one that writes and speaks."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def claimed_work(work: Path, out: Path) -> Iterator[None]:
    """Keep other trainings of the same `out` away from `work`, which holds this one's checkpoints."""
    if not is_first_process():  # the first one holds it
        yield
        return
    try:
        work.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot write beside the output: {error}") from error
    hint = "wait for it, or give another --out"
    with claimed(work, UsageError(f"another training is writing `{out}`", hint=hint)):
        yield


def last_checkpoint(work: Path) -> Path | None:
    """The latest checkpoint that was written to its end."""
    checkpoints = [path for path in work.glob("checkpoint-*") if path.name.partition("-")[2].isdecimal()]
    complete = [path for path in checkpoints if (path / "trainer_state.json").is_file()]
    return max(complete, key=lambda path: int(path.name.partition("-")[2]), default=None)


def prepare_work(work: Path, identity: dict[str, Any], resume: bool, say: Callable[[str], None]) -> Path | None:
    """The checkpoint to go on from, if that is asked for and `work` holds one; else an empty `work`.

    Raises UsageError where the checkpoint comes from a training with another identity.
    """
    checkpoint = last_checkpoint(work)
    if resume and checkpoint is not None:
        _require_same(work, identity)
        say(f"going on from {checkpoint.name}")
        return checkpoint
    if resume:
        say("nothing to resume: there is no checkpoint beside the output, so the training starts from the beginning")
    elif checkpoint is not None:
        say("starting anew; the checkpoints of an interrupted training are deleted (--resume would go on from them)")
    if not is_first_process():
        return None
    try:
        work.mkdir(parents=True, exist_ok=True)
        for left in work.iterdir():  # the folder itself may be locked
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        write_whole(work / _STAMP, json.dumps(identity, sort_keys=True))
    except OSError as error:
        raise UsageError(f"cannot write beside the output: {error}", hint="is there room?") from error
    return None


def _require_same(work: Path, identity: dict[str, Any]) -> None:
    try:
        before = json.loads((work / _STAMP).read_text())
    except (OSError, ValueError):
        before = {}
    now = json.loads(json.dumps(identity))  # as it is read again: lists for tuples
    if before == now:
        return
    differing = (
        ", ".join(_differences(before, now)) if isinstance(before, dict) and before else "all, as far as is known"
    )
    raise UsageError(
        f"`{work}` holds a training that differs from this one in: {differing}",
        hint="give the same ones to go on, or start anew without --resume",
    )


def _differences(before: Any, now: Any, name: str = "") -> list[str]:
    """Names of the values that differ, those inside of others by both names."""
    if not (isinstance(before, dict) and isinstance(now, dict)):
        return [] if before == now else [name]
    found: list[str] = []
    for key in sorted(before.keys() | now.keys()):
        found += _differences(before.get(key), now.get(key), f"{name} {key}".strip())
    return found
