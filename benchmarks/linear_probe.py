"""The baseline that training must beat: logistic regression on an encoder's mean-pooled last hidden states.

    python benchmarks/linear_probe.py ENCODER TASK… [--train-rows 2000] [--json]

ENCODER and every TASK are directories as `python -m spartanc.models.datasets` writes them. scikit-learn's defaults,
no tuning; accuracy on the whole test split.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import click
import numpy as np
import torch

from spartanc.models.backbone import build_classifier, load_backbone
from spartanc.models.datasets import draw_rows
from spartanc.models.examples import EncodedExamples, pad_rows
from spartanc.runtime_py.data import read_examples
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


def probe(encoder: Path, task: Path, train_rows: int | None) -> dict:
    from sklearn.linear_model import LogisticRegression

    train, test = read_examples(task / "train.jsonl"), read_examples(task / "test.jsonl")
    train = draw_rows(train, train_rows) if train_rows else train
    backbone = load_backbone(encoder)
    classifier = build_classifier(backbone, None, 2, pairs=False, pooling="mean").eval()
    text = TextEncoder(backbone.tokenizer, 128)
    features = [embed(classifier, EncodedExamples(part, [0] * len(part), text)) for part in (train, test)]
    model = LogisticRegression(max_iter=1000).fit(features[0], [example.label for example in train])
    labels = np.array([example.label for example in test])
    majority = Counter(example.label for example in train).most_common(1)[0][0]
    return {
        "task": task.name,
        "train_rows": len(train),
        "test_rows": len(test),
        "accuracy": float((model.predict(features[1]) == labels).mean()),
        "majority": float((labels == majority).mean()),
    }


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
            click.echo("{task:12} {train_rows:6} rows  accuracy {accuracy:.4f}  majority {majority:.4f}".format(**row))


if __name__ == "__main__":
    main()
