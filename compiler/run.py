"""`spartanc run`: texts, rows or ids through a bundle, on any device. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spartanc.compiler.quality import measure_name, quality
from spartanc.compiler.samples import read_ids, row
from spartanc.errors import UsageError
from spartanc.runtime_py.bundle import Bundle, open_bundle
from spartanc.runtime_py.data import Columns, Example, read_examples, require_data, require_texts
from spartanc.runtime_py.data.example import make_example
from spartanc.runtime_py.data.writing import check_out, write_answers
from spartanc.runtime_py.devices.catalogue import device_for
from spartanc.runtime_py.devices.device import Row
from spartanc.runtime_py.encoding import encode_examples
from spartanc.runtime_py.task_file import choose_task
from spartanc.runtime_py.text import Encoded, TextEncoder


@dataclass(frozen=True)
class Answers:
    """One answer a row: text, label and scores of a classifier; text and score of a regression.

    notes: what else is to be said, in a line each: texts that were cut, accuracy where rows have labels.
    """

    rows: list[dict[str, Any]]
    notes: list[str]


def run_bundle(path: Path, **options: Any) -> list[dict[str, Any]]:
    """The rows of `answer_rows`, which takes the same."""
    return answer_rows(path, **options).rows


def answer_rows(
    path: Path,
    *,
    text: str | None = None,
    text_pair: str | None = None,
    data: Path | None = None,
    columns: Columns | None = None,
    ids: Path | None = None,
    out: Path | None = None,
    task: str | None = None,
    device: str = "local",
    threads: int | None = None,
    require_signature: Path | None = None,
) -> Answers:
    """Answer one text, the rows of a file, or rows of ids; `out` is a file to write the answers to as well.

    Raises UsageError, with the row, for a text that the model can't be asked and for an id outside its vocabulary.
    """
    require_data(columns, data)
    if out is not None:
        check_out(out, data)
    bundle = open_bundle(path, require_signature=require_signature, task_by_task=True)
    damaged = [f"the task `{name}` can't be used: {what}" for name, what in bundle.damaged.items()]
    chosen = choose_task(bundle, task)
    if chosen is not None:
        bundle = bundle.for_task(chosen.task_type, chosen.labels, chosen.pairs)
    examples: list[Example] = []
    rows: list[Row]
    if ids is not None:
        rows, encoded = read_ids(ids, bundle.vocabulary_size), []
    else:
        given = "`--text`" if text_pair is None else "`--text` and `--text-pair`"
        examples = [make_example(text, text_pair, None, given)] if data is None else read_examples(data, columns)
        encoded = encode(bundle, examples, data)
        rows = [row(each.ids) for each in encoded]
    logits = device_for(bundle, device).run(
        bundle.path, bundle.program, rows, threads=threads, task=name_or_path(bundle, task)
    )
    if ids is not None:
        return _finished([{"text": None} | bundle.answer(each) for each in logits], damaged, out)
    answers = [_answer(bundle, *each) for each in zip(examples, encoded, logits, strict=True)]
    return _finished(answers, damaged + _notes(bundle, examples, encoded, logits), out)


def _finished(answers: list[dict[str, Any]], notes: list[str], out: Path | None) -> Answers:
    if out is None:
        return Answers(answers, notes)
    write_answers(out, answers)
    return Answers(answers, [*notes, f"wrote {out}"])


def _answer(bundle: Bundle, example: Example, encoded: Encoded, logits: np.ndarray) -> dict[str, Any]:
    texts = {"text": example.text} | ({} if example.text_pair is None else {"text_pair": example.text_pair})
    label = list(example.label) if isinstance(example.label, tuple) else example.label
    expected = {} if label is None else {"expected": label}
    return texts | bundle.answer(logits) | expected | {"truncated": encoded.truncated}


def _notes(bundle: Bundle, examples: list[Example], encoded: list[Encoded], logits: list[np.ndarray]) -> list[str]:
    notes = []
    if cut := sum(each.truncated for each in encoded):
        notes.append(f"{cut} of {len(examples)} texts were cut to {bundle.max_length} tokens")
    labelled = [example for example in examples if example.label is not None]
    if not labelled:
        return notes
    # Rows whose label is none of the model's have no right answer: they are counted, and left out.
    known = [_is_known(bundle, example) for example in examples]
    kept = [i for i, good in enumerate(known) if good]
    value = quality(bundle, [examples[i] for i in kept], [logits[i] for i in kept])
    if value is not None:
        notes.append(f"{measure_name(bundle)} {value:.4f} on {len(kept)} labelled rows")
    if foreign := len(labelled) - len(kept):
        notes.append(f"{foreign} of {len(labelled)} labels are none of the model's, and do not count")
    return notes


def _is_known(bundle: Bundle, example: Example) -> bool:
    if example.label is None:
        return False
    try:
        bundle.task_type.targets([example], bundle.labels)
    except UsageError:
        return False
    return True


def name_or_path(bundle: Bundle, task: str | None) -> str | Path | None:
    """As devices take it: a name where the bundle has such a task, else the path of a file."""
    return Path(task) if task is not None and task not in bundle.manifest["fleet"]["tasks"] else task


def encode(bundle: Bundle, examples: list[Example], source: Path | None) -> list[Encoded]:
    """Examples as token ids. Raises UsageError, with the row in the file `source`, where the model can't be asked."""
    tokenizer = bundle.tokenizer
    if tokenizer is None:
        raise UsageError(
            f"bundle `{bundle.path}` came from a model without a tokenizer, so it takes no text",
            hint="give token ids with `--ids FILE.safetensors`",
        )
    require_texts(examples, bundle.pairs, source or ("--text" if len(examples) == 1 else None))
    return encode_examples(examples, TextEncoder(tokenizer, bundle.max_length), source, allow_empty=False)
