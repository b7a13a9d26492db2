"""What a run of slimming leaves beside its output until it has ended: from it an interrupted one goes on."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from spartanc.base.files import whole_path, write_whole
from spartanc.errors import UsageError
from spartanc.models.slim.distil import CHECKPOINT
from spartanc.models.slim.encoder import Encoder
from spartanc.models.slim.narrow import Narrowed
from spartanc.models.slim.request import SlimRequest
from spartanc.models.training_work import is_first_process

_STAMP = "identity.json"
_NARROWED = "narrowed.json"
_LAYERS = "layers.pt"


def work_of(out: Path) -> Path:
    return out.with_name(f".{out.name}.slimming")


def identity_of(request: SlimRequest, digests: dict[str, str], units: int, data: Sequence[str]) -> dict[str, Any]:
    """What a run must have in common with the one that it goes on with."""
    return {
        "encoder": digests,
        "texts": list(data),
        "units": units,
        "length": request.length,
        "steps": request.steps,
        "sparsifier": request.sparsifier,
        "uneven": request.uneven,
        "precision": request.precision,
        "seed": request.seed,
    }


def can_go_on(work: Path) -> bool:
    """Whether a run left what another one can go on from: one that chose units, and none whose masks move."""
    return (work / _STAMP).is_file() and (work / _NARROWED).is_file()


def begin(work: Path, identity: dict[str, Any], resume: bool, say: Callable[[str], None]) -> bool:
    """Whether there is something to go on from; else an empty `work`, which the first process makes.

    Where `resume` and what is there do not agree, that is said. Raises UsageError where it is of another run.
    """
    stamp = work / _STAMP
    if resume and can_go_on(work):
        before = json.loads(stamp.read_text(encoding="utf-8"))
        differing = sorted(key for key in identity if before.get(key) != identity[key])
        if differing:
            raise UsageError(
                f"`{work}` holds a run that differs from this one in: {', '.join(differing)}",
                hint="give the same ones to go on, or start anew without --resume",
            )
        return True
    if resume:
        say("nothing to resume: no run has got so far beside the output, so this one starts from the beginning")
    elif can_go_on(work):
        say("starting anew; what an interrupted run left is deleted (--resume would go on from it)")
    if not is_first_process():
        return False
    try:
        for name in (_STAMP, _NARROWED, _LAYERS, CHECKPOINT):
            (work / name).unlink(missing_ok=True)
        write_whole(stamp, json.dumps(identity))
    except OSError as error:
        raise UsageError(f"cannot write beside the output: {error}", hint="is there room?") from error
    return False


def keep_narrowed(work: Path, slim: Encoder, removed: Sequence[Narrowed], at_first: Sequence[float]) -> None:
    """What was removed, and the layers as that left them."""
    with whole_path(work / _LAYERS) as path:
        torch.save(slim.classifier.layers().state_dict(), path)
    content = {"removed": [asdict(each) for each in removed], "unexplained": list(at_first)}
    write_whole(work / _NARROWED, json.dumps(content))


def take_narrowed(work: Path, slim: Encoder) -> tuple[list[Narrowed], list[float]]:
    """Bring `slim`, still dense, to where `keep_narrowed` saw it."""
    content = json.loads((work / _NARROWED).read_text(encoding="utf-8"))
    removed = [Narrowed(**each) for each in content["removed"]]
    for pair, each in zip(slim.feed_forwards(), removed, strict=True):
        pair.narrow(torch.arange(pair.units) < each.units)
    slim.classifier.layers().load_state_dict(torch.load(work / _LAYERS, weights_only=True))
    return removed, content["unexplained"]
