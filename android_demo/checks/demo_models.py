"""Small classifiers for the checks, where no trained ones are given: random weights, real tokenizers, real sentences.

What a check asks is whether the phone gives eager's answers, not whether they are wise: so a model needs no training,
only answers that differ from text to text.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch

from spartanc.compiler.pipeline import CompileRequest, compile_model
from spartanc.models.checkpoint import TrainedModel, find_segment_separator, load_model, save_model
from spartanc.models.classifier import SpartanClassifier
from spartanc.models.memory import SpartanConfig
from spartanc.runtime_py.data import Example

MAX_LENGTH = 64
FLEET = "fleet"
_HIDDEN = 64


def random_model(
    architecture: str,
    tokenizer: str,
    labels: tuple[str, ...],
    texts: Sequence[str],
    backbone: TrainedModel | None = None,
    thresholds: tuple[float, ...] = (),
) -> TrainedModel:
    """With `backbone`, over the backbone of that model; with `thresholds`, for several labels a text."""
    vocabulary = len(json.loads(tokenizer)["model"]["vocab"])
    roberta = architecture in ("roberta", "xlm-roberta")
    config = {
        "model_type": architecture,
        "vocab_size": vocabulary,
        "num_labels": len(labels),
        "hidden_size": _HIDDEN,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 2 * _HIDDEN,
        "max_position_embeddings": MAX_LENGTH + (2 if roberta else 0),
        "pad_token_id": 1 if roberta else 0,
        "type_vocab_size": 1 if roberta else 2,
    }
    spartan = SpartanConfig(parents=16, cells=48, top_k=8, temperature=1.6)
    torch.manual_seed(len(labels))
    module = SpartanClassifier(config, spartan, find_segment_separator(tokenizer, config)).eval()
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.dim() == 2:
                parameter.normal_(std=0.15)
        parameters = dict(module.named_parameters())
        for name, value in (backbone.backbone_tensors() if backbone else {}).items():
            parameters[name].copy_(value)
    examples = tuple(Example(text) for text in texts[:32])
    problem = "multilabel" if thresholds else "classification"
    model = TrainedModel(module, config, spartan, tokenizer, labels, problem, examples, thresholds=thresholds)
    _spread_labels(model)
    return model


def _spread_labels(model: TrainedModel) -> None:
    """Move the last bias so that no label is the usual one."""
    encoder = model.text_encoder(MAX_LENGTH)
    head = model.module.last_linear()
    with torch.no_grad():
        ids = [torch.tensor([encoder.encode(example.text).ids]) for example in model.eval_examples]
        head.bias -= torch.cat([model.module(row, torch.ones_like(row)) for row in ids]).mean(0)


def compile_bundles(models: Sequence[Path], out: Path) -> list[Path]:
    """A portable fp32 bundle for a phone of each model, in a folder of its name."""
    return [_compile((model,), out / model.stem) for model in models]


def compile_fleet(models: Sequence[Path], out: Path) -> Path:
    """One portable fp32 program for a phone that takes each model's task, in a folder `FLEET`."""
    return _compile(tuple(models), out / FLEET, shared_backbone=True)


def _compile(models: tuple[Path, ...], bundle: Path, **options: bool) -> Path:
    request = CompileRequest(
        models=models,
        target="android-arm64",
        out=bundle,
        quantize="none",
        lowering="portable",
        max_length=MAX_LENGTH,
        **options,
    )
    compile_model(request)
    return bundle


def make_models(tokenizers: dict[str, str], texts: Sequence[str], out: Path) -> list[Path]:
    wanted = {
        "moods": random_model("bert", tokenizers["bert-uncased"], ("calm", "glad", "sad"), texts),
        "topics": random_model("roberta", tokenizers["roberta"], ("arts", "sport", "trade", "weather"), texts),
        "tongues": random_model("xlm-roberta", tokenizers["xlm-roberta"], ("one", "another"), texts),
    }
    return _saved(wanted, out)


def make_fleet_models(tokenizers: dict[str, str], texts: Sequence[str], out: Path) -> list[Path]:
    """Four tasks of one backbone that differ in their number of labels, one with several labels a text."""
    first = random_model("bert", tokenizers["bert-uncased"], ("no", "yes"), texts)
    labels = {"colours": ("red", "green", "blue", "grey"), "sizes": ("small", "middling", "large")}
    others = {name: random_model("bert", first.tokenizer, names, texts, first) for name, names in labels.items()}
    parts = ("head", "hand", "foot")
    several = random_model("bert", first.tokenizer, parts, texts, first, thresholds=(0.3, 0.5, 0.6))
    return _saved({"answers": first, **others, "parts": several}, out)


def _saved(models: dict[str, TrainedModel], out: Path) -> list[Path]:
    out.mkdir(parents=True, exist_ok=True)
    for name, model in models.items():
        save_model(model, out / f"{name}.pt")
    return [out / f"{name}.pt" for name in models]


def eager_answers(model: Path, rows: Sequence[Sequence[str]]) -> list[dict[str, float]]:
    """What eager PyTorch gives for each row of one or two texts: every label's probability, by its task type."""
    trained = load_model(model)
    encoder = trained.text_encoder(min(MAX_LENGTH, trained.max_length))
    found = []
    with torch.inference_mode():
        for row in rows:
            ids = torch.tensor([encoder.encode(*row).ids])
            logits_C = trained.module(ids, torch.ones_like(ids))[0].numpy()
            found.append(trained.task_type.answer(logits_C, trained.labels)["scores"])
    return found
