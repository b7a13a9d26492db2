"""Questions in languages that no training text had: TREC's classes, learned in English.

    python benchmarks/multilingual.py ENCODER TREC [--layers N] [--epochs N] [--keep DIR] [--json]

ENCODER is a multilingual directory and TREC the task `trec`, as `python -m spartanc.models.datasets` writes them. The
encoder's vocabulary is cut to the pieces of TREC's training texts and of questions.csv (`slim --vocabulary-from`); then
memories are trained with today's defaults and scored on TREC's test split and on questions.csv: 24 in each of German,
French and Spanish, four of each class. One of 24 is 4 points: read the sum.
"""

from __future__ import annotations

import csv
import json
import tempfile
from pathlib import Path
from typing import Any

import click

from spartanc.models.checkpoint import load_model
from spartanc.models.examples import EncodedExamples
from spartanc.models.settings import TrainRequest, TrainSettings
from spartanc.models.slim.vocabulary import cut_vocabulary
from spartanc.models.trainer import evaluate
from spartanc.models.training import train
from spartanc.runtime_py.data import Example, read_examples
from spartanc.runtime_py.text import TextEncoder

QUESTIONS = Path(__file__).with_name("questions.csv")


@click.command()
@click.argument("encoder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("trec", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--layers", type=click.IntRange(1))
@click.option("--epochs", type=click.IntRange(1))
@click.option("--keep", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True)
def main(encoder: Path, trec: Path, layers: int | None, epochs: int | None, keep: Path | None, as_json: bool) -> None:
    """Train in English, ask in other languages."""
    with tempfile.TemporaryDirectory() as scratch:
        found = measure(encoder, trec, layers, epochs, keep or Path(scratch))
    if as_json:
        click.echo(json.dumps(found, indent=1))
        return
    click.echo(f"{found['pieces']:,} of {found['pieces_before']:,} pieces")
    for name, accuracy in found["accuracy"].items():
        click.echo(f"{name:8} {accuracy:.3f}")


def measure(encoder: Path, trec: Path, layers: int | None, epochs: int | None, folder: Path) -> dict[str, Any]:
    """Accuracies by language, and how many pieces were kept."""
    folder.mkdir(parents=True, exist_ok=True)
    cut = cut_vocabulary(encoder, [trec / "train.jsonl", QUESTIONS], folder / "encoder", overwrite=True)
    settings = TrainSettings() if epochs is None else TrainSettings(epochs=epochs)
    path = folder / "model.pt"
    if not path.is_file():
        request = TrainRequest(
            folder / "encoder", trec / "train.jsonl", trec / "dev.jsonl", path, settings, layers=layers,
            adapt=epochs is None,
        )  # fmt: skip
        train(request)
    model = load_model(path)
    assert model.tokenizer is not None
    text = TextEncoder(model.tokenizer, TrainSettings.max_length)

    def accuracy(examples: list[Example]) -> float:
        targets = model.task_type.targets(examples, model.labels, "the questions")
        return evaluate(model.module, model.task_type, EncodedExamples(examples, targets, text))

    found = {"English": accuracy(read_examples(trec / "test.jsonl"))}
    with QUESTIONS.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for language in dict.fromkeys(row["language"] for row in rows):
        asked = [Example(row["text"], None, row["label"]) for row in rows if row["language"] == language]
        found[language] = accuracy(asked)
    return {"pieces_before": cut.pieces_before, "pieces": cut.pieces, "accuracy": found}


if __name__ == "__main__":
    main()
