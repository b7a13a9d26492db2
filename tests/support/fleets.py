"""Several small tasks over one backbone, as trained models."""

from __future__ import annotations

from pathlib import Path

import torch

from spartanc.models.checkpoint import TrainedModel, save_model
from spartanc.models.memory import SpartanConfig
from spartanc.runtime_py.data import Example
from support.models import tiny_model

TEXTS = ("where is the card", "a good film", "why does it rain", "who was born in that city", "how many people live")


def on_backbone_of(backbone: TrainedModel, task: TrainedModel) -> TrainedModel:
    """`task` with the tensors of another model's backbone in the place of its own."""
    parameters = dict(task.module.named_parameters())
    with torch.no_grad():
        for name, value in backbone.backbone_tensors().items():
            parameters[name].copy_(value)
    return task


def tiny_tasks(architecture: str) -> dict[str, TrainedModel]:
    """Tasks that differ in labels, in problem, and in every size of the memory."""
    first = tiny_model(architecture)
    shapes = {
        "pair": SpartanConfig(parents=10, cells=40, top_k=3, temperature=0.7),
        "score": SpartanConfig(parents=6, cells=6, top_k=6, temperature=1.0),
    }
    models = {
        "three": first,
        "pair": tiny_model(architecture, labels=("x", "y"), spartan=shapes["pair"], seed=5),
        # Of this seed texts differ enough in their scores for int8's noise to be small beside that.
        "score": tiny_model(architecture, problem="regression", spartan=shapes["score"], seed=20),
    }
    for model in models.values():
        model.eval_examples = tuple(Example(text) for text in TEXTS)
    return {name: on_backbone_of(first, model) for name, model in models.items()}


def save_tasks(models: dict[str, TrainedModel], directory: Path) -> dict[str, Path]:
    paths = {name: directory / f"{name}.pt" for name in models}
    for name, model in models.items():
        save_model(model, paths[name])
    return paths
