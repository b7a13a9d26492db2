"""Which vector of a text a task reads, from what the checkpoint has been trained for.

    auto     if all layers are kept, the checkpoint's trained pooler, or the first position where the encoder's pooler
             hands that on; else what a sentence-transformers directory says (`modules.json`, `1_Pooling/config.json`);
             else the mean
    pooler   the trained pooler, or a new one that is trained with the task
    cls, mean

A frozen pooler that was drawn at random hides the text from the classifier: TREC's six classes on three layers of
MiniLM, whose pooler was never trained, 0.22 with it and 0.89 with the mean (1,000 rows, two epochs).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spartanc.errors import UsageError
from spartanc.models.backbone import Backbone, has_trained_pooler
from spartanc.models.weights import read_json

CHOICES = ("auto", "pooler", "cls", "mean")
_MODES = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}


@dataclass(frozen=True)
class PoolingChoice:
    """pooling: one of `pooling.POOLINGS`; reason: for people."""

    pooling: str
    reason: str


def choose_pooling(backbone: Backbone, asked: str) -> PoolingChoice:
    """What `--pooling` stands for with this checkpoint."""
    if asked not in CHOICES:
        raise UsageError(f"unknown `--pooling {asked}`", hint=f"one of {', '.join(CHOICES)}")
    trained = has_trained_pooler(backbone)
    if not backbone.adapter.has_pooler(backbone.config) and (
        asked == "pooler" or (asked == "auto" and not backbone.layers_cut)
    ):
        return PoolingChoice("cls", "the encoder's pooler hands on the first position as it is")
    if asked == "pooler":
        frozen = backbone.adapter.pooler_is_frozen
        if trained:
            return PoolingChoice("pooler", "the checkpoint's pooler" + ("" if frozen else ", trained on with the task"))
        return PoolingChoice("task_pooler" if frozen else "pooler", f"{_lack(backbone)}: a new one, part of the task")
    if asked != "auto":
        return PoolingChoice(asked, "as asked")
    if trained and not backbone.layers_cut:
        return PoolingChoice("pooler", "the checkpoint has a trained pooler")
    lack = "its pooler was trained behind layers that are left out" if trained else _lack(backbone)
    said, where = _sentence_pooling(backbone.directory)
    if said in ("cls", "mean"):
        return PoolingChoice(said, f"`{where}` says so; {lack}")
    if said is not None:
        return PoolingChoice("mean", f"`{where}` says `{said}`, which is not known here; {lack}")
    return PoolingChoice("mean", lack)


def _lack(backbone: Backbone) -> str:
    adapter = backbone.adapter
    if f"{adapter.base}.{adapter.stored_pooler}.bias" in backbone.tensors:
        return "the checkpoint's pooler was never trained, its bias is all zeros"
    return "the checkpoint has no pooler"


def _sentence_pooling(directory: Path) -> tuple[str | None, str]:
    """How a sentence-transformers directory pools, and the file that says so; None where none does."""
    if not (directory / "modules.json").is_file():
        return None, ""
    for module in _modules(directory / "modules.json"):
        if str(module.get("type", "")).endswith(".Pooling"):
            where = f"{module.get('path')}/config.json"
            return _mode(read_json(directory / where)), where
    return None, ""


def _modules(path: Path) -> list[dict[str, Any]]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read `{path}`: {error}") from error
    if not isinstance(content, list) or not all(isinstance(each, dict) for each in content):
        raise UsageError(f"`{path}` does not hold a list of modules")
    return content


def _mode(config: dict[str, Any]) -> str:
    """`mean`, `cls`, or what else is switched on, in the file's own words."""
    if isinstance(config.get("pooling_mode"), str):  # later versions name it
        return config["pooling_mode"]
    on = [name for name, value in config.items() if name.startswith("pooling_mode_") and value is True]
    return _MODES.get(on[0], on[0]) if len(on) == 1 else " and ".join(on) or "nothing"
