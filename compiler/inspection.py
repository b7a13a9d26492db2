"""`spartanc inspect`: what a bundle or a model is made of."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from spartanc.runtime_py.bundle import MANIFEST, open_bundle


def inspect_path(path: Path) -> dict[str, Any]:
    """The manifest of a bundle (its files checked), or the shape of a model."""
    if (path / MANIFEST).exists():
        return {"kind": "bundle", "path": str(path), **open_bundle(path).manifest}
    from spartanc.models.checkpoint import load_model

    model = load_model(path)
    task = sum(tensor.numel() for tensor in model.task_tensors().values())
    backbone = sum(tensor.numel() for tensor in model.backbone_tensors().values())
    return {
        "kind": "model",
        "path": str(path),
        "architecture": model.encoder_config.get("model_type"),
        "layers": model.encoder_config.get("num_hidden_layers", model.encoder_config.get("n_layers")),
        "hidden_size": model.encoder_config.get("hidden_size", model.encoder_config.get("dim")),
        "memory": asdict(model.spartan),
        "problem": model.problem,
        "labels": list(model.labels),
        "tokenizer": model.tokenizer is not None,
        "evaluation_texts": len(model.eval_examples),
        "task_parameters": task,
        "backbone_parameters": backbone,
    }
