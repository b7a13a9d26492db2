"""`spartanc inspect`: what a bundle or a model is made of."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from spartanc.errors import UsageError
from spartanc.runtime_py.bundle import MANIFEST, open_bundle


def inspect_path(path: Path, require_signature: Path | None = None) -> dict[str, Any]:
    """The manifest of a bundle (its files checked), or the shape of a model and how it was trained, if known."""
    if (path / MANIFEST).exists():
        bundle = open_bundle(path, require_signature=require_signature)
        signature = "none" if not bundle.is_signed else "not checked" if require_signature is None else "good"
        return {"kind": "bundle", "path": str(path), "signature": signature, **bundle.manifest}
    if require_signature is not None:
        raise UsageError(f"`{path}` is no bundle, and nothing but bundles is signed")
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
        **({"thresholds": list(model.thresholds)} if model.thresholds else {}),
        "pairs": model.pairs,
        "tokenizer": model.tokenizer is not None,
        "evaluation_texts": len(model.eval_examples),
        "task_parameters": task,
        "backbone_parameters": backbone,
        "training": model.training,
    }
