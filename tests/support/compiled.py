"""Small models compiled for this machine by the real compiler: a bundle of one task, and a fleet of three."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer

from spartanc.compiler.pipeline import CompileRequest, compile_model
from spartanc.models.checkpoint import TrainedModel
from support.fleets import save_tasks, tiny_tasks

MAX_LENGTH = 24
TEXTS = ["where is the card", "a good film", "why does it rain", ("who was born", "in that city"), "how many people"]


def compile_both(folder: Path) -> tuple[Mapping[str, TrainedModel], Path, Path]:
    """(models by task, a bundle of the task `three`, a fleet of all three)."""
    models = tiny_tasks("bert")
    paths = save_tasks(models, folder)
    common = {"target": "host", "max_length": MAX_LENGTH}
    compile_model(CompileRequest(models=(paths["three"],), out=folder / "single", **common))
    compile_model(CompileRequest(models=tuple(paths.values()), out=folder / "fleet", shared_backbone=True, **common))
    return models, folder / "single", folder / "fleet"


def eager_of(model: TrainedModel, text: str | tuple[str, str]) -> np.ndarray:
    """Logits float32 [C] of eager PyTorch for one text or pair, encoded by the tokenizers library alone."""
    assert model.tokenizer is not None
    ids = Tokenizer.from_str(model.tokenizer).encode(*((text,) if isinstance(text, str) else text)).ids
    row = torch.tensor([ids])
    with torch.inference_mode():
        return model.module(row, torch.ones_like(row))[0].numpy()


def softmax(logits: np.ndarray) -> np.ndarray:
    shifted = np.exp(logits.astype(np.float64) - logits.max())
    return shifted / shifted.sum()
