"""Training: memories, classifier and LayerNorms over a frozen encoder, from files of examples to a model file.

The epoch that is best on the evaluation file is the one that is saved; checkpoints beside the output are what an
interrupted training goes on from.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from spartanc.base.locks import claimed
from spartanc.errors import UsageError
from spartanc.models.backbone import build_classifier, load_backbone
from spartanc.models.checkpoint import EVAL_EXAMPLES, TrainedModel, load_model, save_model
from spartanc.models.classifier import SpartanClassifier
from spartanc.models.examples import EncodedExamples, find_labels
from spartanc.models.few_shot import are_few, for_few_rows
from spartanc.models.memory import SpartanConfig
from spartanc.models.objective import TrainingModule
from spartanc.models.settings import MAX_LENGTH, TrainSettings
from spartanc.models.start import TEXTS, start_memories
from spartanc.models.trainer import run_trainer
from spartanc.runtime_py.data import label_indices, label_numbers, read_examples
from spartanc.runtime_py.text import TextEncoder


def train(
    backbone: str | Path,
    data: str | Path,
    eval: str | Path,
    out: str | Path,
    *,
    epochs: float | None = None,
    seed: int = 0,
    samples: bool = True,
    learning_rate: float | None = None,
    batch_size: int | None = None,
    max_length: int = MAX_LENGTH,
    precision: str = "fp32",
    parents: int = 16,
    cells: int = 48,
    top_k: int = 8,
    temperature: float = 1.6,
    layer_norm: str = "none",
    layers: int | None = None,
    problem: str | None = None,
    init_from: str | Path | None = None,
    resume: bool = False,
    settings: TrainSettings | None = None,
    report: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Train a SPARTAN classifier and write it to `out`; what was done comes back as plain values.

    backbone: an encoder's directory, of which `layers` keeps the first so many layers.
    data, eval: files of labelled examples; the epoch that is best on `eval` is saved.
    epochs: 3 by default; so few rows that these are less than 120 steps get as many as it takes, and the settings of
    `few_shot.py`, unless `settings` are given.
    samples: whether 32 of the evaluation examples go into the model, for `compile` to prove its result on.
    learning_rate: of the memories; the classifier's and the LayerNorms' go with it in their measured ratio.
    max_length: tokens a text, or what the encoder can take where that is less.
    precision: of products with frozen weights, `fp32` or `bf16`; see `faster.py`.
    problem: `classification` or `regression`; by default regression if every label is a number.
    init_from: a trained model over the same encoder whose memories, LayerNorms and, where the labels are the
    same, classifier are started from.
    resume: go on from the last checkpoint beside `out`, which an interrupted training left.
    settings: all that this signature leaves at measured values; what it names is taken from the arguments.
    report: called with a line of text now and then; by default they go to stderr.

    Raises UsageError for wrong input, UnsupportedModelError for an encoder that is not supported.
    """
    spartan, out = SpartanConfig(parents, cells, top_k, temperature, layer_norm), Path(out)
    adapts = epochs is None and settings is None
    settings = (settings or TrainSettings()).changed(epochs, seed, max_length, learning_rate, batch_size)
    settings = replace(settings, precision=precision)
    say = report or _say_on_stderr
    if out.is_dir():
        raise UsageError(f"`{out}` is a directory", hint="give the name of a file: --out model.pt")
    train_examples, eval_examples = read_examples(data), read_examples(eval)
    problem, labels = find_labels(train_examples, data, problem)
    if adapts and are_few(len(train_examples), settings):
        settings = for_few_rows(settings, len(train_examples), len(labels))
        say(f"{len(train_examples)} rows are few: {settings.epochs} epochs, and rates for few rows")
    encoder_files = load_backbone(backbone, layers)
    torch.manual_seed(settings.seed)
    pairs = any(example.text_pair is not None for example in train_examples)
    classifier = build_classifier(encoder_files, spartan, max(1, len(labels)), pairs)
    longest = classifier.max_length()
    if settings.max_length > longest:
        say(f"the encoder takes at most {longest} tokens a text")
    max_length = min(settings.max_length, longest)
    encoder = TextEncoder(encoder_files.tokenizer, max_length)

    scale = (0.0, 1.0)
    if problem == "regression":
        numbers = label_numbers(train_examples, data)
        scale = (float(np.mean(numbers)), float(np.std(numbers)) or 1.0)
        targets: list[Sequence[int | float]] = [
            [(number - scale[0]) / scale[1] for number in values]
            for values in (numbers, label_numbers(eval_examples, eval))
        ]
    else:
        targets = [label_indices(train_examples, labels, data), label_indices(eval_examples, labels, eval)]
    train_rows = EncodedExamples(train_examples, targets[0], encoder)
    eval_rows = EncodedExamples(eval_examples, targets[1], encoder)
    if train_rows.truncated:
        say(f"{train_rows.truncated} of {len(train_rows)} training texts exceed {max_length} tokens")

    identity = {
        "settings": asdict(settings),
        "spartan": asdict(spartan),
        "layers": layers,
        "init_from": None if init_from is None else file_digest(init_from),
        "data": [file_digest(path) for path in (data, eval)],
    }
    if init_from is not None:
        copy_task(load_model(init_from), classifier, labels)
    else:
        start(classifier, train_rows, settings)
    module = TrainingModule(classifier, problem, settings.load_balance, settings.dropout)
    work = out.with_name(f".{out.name}.training")
    with _claimed(work, out):
        result = run_trainer(module, settings, train_rows, eval_rows, work, identity, say, resume)
        if problem == "regression":
            restore_scale(classifier, *scale)
        classifier.eval()
        summary = {
            "model": str(out),
            "problem": problem,
            "labels": list(labels),
            "train_rows": len(train_rows),
            "eval_rows": len(eval_rows),
            "truncated": train_rows.truncated,
            "trainable_parameters": sum(value.numel() for value in classifier.parameters() if value.requires_grad),
            **result,
        }
        if result["main_process"]:
            count = len(eval_examples)
            chosen = random.Random(settings.seed).sample(range(count), min(EVAL_EXAMPLES, count))
            kept = tuple(eval_examples[index] for index in sorted(chosen)) if samples else ()
            trained = TrainedModel(
                classifier,
                json.loads(classifier.config.to_json_string(use_diff=False)),
                spartan,
                encoder_files.tokenizer,
                labels,
                problem,
                kept,
                {
                    **identity,
                    "results": {name: summary[name] for name in ("train_rows", "eval_rows", "best", "history")},
                },
            )
            save_model(trained, out)
            shutil.rmtree(work, ignore_errors=True)
    del summary["main_process"]
    return summary


@contextmanager
def _claimed(work: Path, out: Path) -> Iterator[None]:
    """Keep other trainings of the same `out` away from `work`, which holds this one's checkpoints."""
    if os.environ.get("RANK", "0") != "0":  # of several processes of one training, the first one holds it
        yield
        return
    try:
        work.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot write beside the output: {error}") from error
    hint = "wait for it, or give another --out"
    with claimed(work, UsageError(f"another training is writing `{out}`", hint=hint)):
        yield


def copy_task(source: TrainedModel, target: SpartanClassifier, labels: Sequence[str]) -> None:
    """Start `target` from another task's memories and LayerNorms, and its classifier if the labels are
    the same.
    """
    state = target.state_dict()
    head = tuple(f"network.{prefix}" for prefix in target.adapter.head)
    given = {
        name: tensor
        for name, tensor in source.task_tensors().items()
        if tuple(labels) == source.labels or not name.startswith(head)
    }
    wanted = {name for name in target.task_names() if tuple(labels) == source.labels or not name.startswith(head)}
    for name in sorted(wanted ^ set(given)) or sorted(wanted):
        if name not in given or name not in wanted or state[name].shape != given[name].shape:
            raise UsageError(f"the model to start from does not fit: `{name}`", hint="same encoder, same memory")
    for name, tensor in given.items():
        state[name].copy_(tensor)


def start(classifier: SpartanClassifier, rows: EncodedExamples, settings: TrainSettings) -> None:
    """Bring what is trained to where training starts, as far as that depends on the data."""
    for memory in classifier.memories():
        nn.init.normal_(memory.values, std=settings.value_std)
    if classifier.memories():
        drawn = random.Random(settings.seed).sample(range(len(rows)), min(TEXTS, len(rows)))
        texts = list(rows.by_length(drawn).batches(classifier.config.pad_token_id or 0))
        start_memories(classifier, texts, settings.parent_scale, settings.key_scale, settings.seed)


def last_linear(classifier: SpartanClassifier) -> nn.Linear:
    """The head's linear that gives the logits."""
    head = tuple(f"network.{prefix}" for prefix in classifier.adapter.head)
    linears = [
        module
        for name, module in classifier.named_modules()
        if isinstance(module, nn.Linear) and f"{name}.".startswith(head)
    ]
    outputs = classifier.config.num_labels
    return [linear for linear in linears if linear.out_features == outputs][-1]


def restore_scale(classifier: SpartanClassifier, mean: float, deviation: float) -> None:
    """Fold the standardisation of regression labels into the head, so that it gives scores."""
    linear = last_linear(classifier)
    with torch.no_grad():
        linear.weight.mul_(deviation)
        linear.bias.mul_(deviation).add_(mean)


def file_digest(path: str | Path) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def _say_on_stderr(line: str) -> None:
    from rich.console import Console

    if os.environ.get("RANK", "0") == "0":
        Console(stderr=True).print(line, highlight=False, markup=False)
