"""The baseline that training must beat: logistic regression on an encoder's mean-pooled last hidden states.

    python benchmarks/linear_probe.py ENCODER TASK… [--train-rows 2000] [--json]

ENCODER and every TASK are directories as `python -m spartanc.models.datasets` writes them. scikit-learn's defaults,
no tuning; accuracy on the whole test split. Where texts have several labels it is one regression against the rest for
each, with macro- and micro-F1 of labels given at a half, and above thresholds that the development split chose as for
`train`.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch

from spartanc.models.backbone import build_classifier, load_backbone
from spartanc.models.datasets import draw_rows
from spartanc.models.examples import EncodedExamples, pad_rows
from spartanc.runtime_py.data import Example, read_examples
from spartanc.runtime_py.task_types.decision import decide_task
from spartanc.runtime_py.task_types.multilabel import MULTILABEL
from spartanc.runtime_py.text import TextEncoder


def embed(classifier, rows: EncodedExamples) -> np.ndarray:
    """Mean of the last hidden states of all real tokens, one row a text."""
    order = sorted(range(len(rows)), key=lambda index: len(rows[index]["input_ids"]))
    out = np.zeros((len(rows), classifier.config.hidden_size), np.float32)
    for start in range(0, len(order), 64):
        chosen = order[start : start + 64]
        batch = pad_rows([rows[index] for index in chosen], classifier.config.pad_token_id or 0)
        hidden = classifier.trace(batch["input_ids"], batch["attention_mask"]).hidden_states[-1]
        mask = batch["attention_mask"].unsqueeze(-1)
        out[chosen] = ((hidden * mask).sum(1) / mask.sum(1)).numpy()
    return out


def probe(encoder: Path, task: Path, train_rows: int | None) -> dict[str, Any]:
    parts = {name: read_examples(task / f"{name}.jsonl") for name in ("train", "dev", "test")}
    parts["train"] = draw_rows(parts["train"], train_rows) if train_rows else parts["train"]
    backbone = load_backbone(encoder)
    classifier = build_classifier(backbone, None, 2, pairs=False, pooling="mean").eval()
    text = TextEncoder(backbone.tokenizer, 128)
    several = decide_task(parts["train"], task).task_type.several
    wanted = parts if several else ("train", "test")
    features = {name: embed(classifier, EncodedExamples(parts[name], [0] * len(parts[name]), text)) for name in wanted}
    found = (_of_several if several else _of_one)(parts, features)
    return {"task": task.name, "train_rows": len(parts["train"]), "test_rows": len(parts["test"]), **found}


def _of_one(parts: dict[str, list[Example]], features: dict[str, np.ndarray]) -> dict[str, float]:
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(max_iter=1000).fit(features["train"], [example.label for example in parts["train"]])
    labels = np.array([example.label for example in parts["test"]])
    majority = Counter(example.label for example in parts["train"]).most_common(1)[0][0]
    return {
        "accuracy": float((model.predict(features["test"]) == labels).mean()),
        "majority": float((labels == majority).mean()),
    }


def _of_several(parts: dict[str, list[Example]], features: dict[str, np.ndarray]) -> dict[str, float | None]:
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier

    labels = MULTILABEL.find_labels(parts["train"], "train")
    targets = {name: np.array(MULTILABEL.targets(rows, labels, name)) for name, rows in parts.items()}
    model = OneVsRestClassifier(LogisticRegression(max_iter=1000)).fit(features["train"], targets["train"])
    logits = {name: model.decision_function(features[name]) for name in ("dev", "test")}
    fitted = MULTILABEL.fitted(logits["dev"], targets["dev"])
    half, best = (each.measures(logits["test"], targets["test"]) for each in (MULTILABEL, fitted))
    return {f"{name}_at_half": value for name, value in half.items()} | best


@click.command()
@click.argument("encoder", type=click.Path(path_type=Path, exists=True))
@click.argument("tasks", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--train-rows", type=click.IntRange(min=1), help="Draw at most so many training rows.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def main(encoder: Path, tasks: tuple[Path, ...], train_rows: int | None, as_json: bool):
    """Accuracy of a linear probe on every TASK."""
    torch.set_num_threads(1)
    results = [probe(encoder, task, train_rows) for task in tasks]
    if as_json:
        click.echo(json.dumps(results))
    else:
        for row in results:
            figures = "  ".join(f"{name} {value:.4f}" for name, value in row.items() if isinstance(value, float))
            click.echo(f"{row['task']:12} {row['train_rows']:6} rows  {figures}")


if __name__ == "__main__":
    main()
