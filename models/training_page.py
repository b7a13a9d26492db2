"""The page of `train --html`: what a training came to, readable on a phone. Nothing is fetched and nothing runs.

Legend: N development rows, C classes, E parents.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spartanc.base.pages import STYLE, page, write_page
from spartanc.models.classifier import SpartanClassifier
from spartanc.models.examples import EncodedExamples
from spartanc.models.learning import Learning
from spartanc.models.trainer import TrainerRun
from spartanc.models.training_data import TaskData
from spartanc.models.training_versions import training_versions
from spartanc.runtime_py.data import Example
from spartanc.runtime_py.data.labels import in_words
from spartanc.runtime_py.task_types.task_type import TaskType

WORST = 12
LOADED_ROWS = 256  # how many development rows parents' loads are read from
_PER_CLASS = ("precision", "recall", "f1", "threshold")
_WIDTH, _HEIGHT, _MARGIN = 640, 200, 46
_MATRIX_CLASSES = 24  # beyond, a matrix of confusions is no longer readable

_OWN_STYLE = """
.wide td:first-child, .wide th:first-child { min-width: 5.5rem; }
.matrix td { text-align: center; min-width: 2.4rem; border: 1px solid var(--line); }
.matrix .name { text-align: left; } svg .second { stroke: var(--warn); }
.load { display: flex; gap: 2px; height: 3rem; align-items: flex-end; border-bottom: 1px solid var(--line); }
.load i { flex: 1; background: var(--fill); }
"""


@dataclass(frozen=True)
class Trained:
    """What a page tells of: the result of a training as JSON, with what is too large for it."""

    result: dict[str, Any]
    settings: dict[str, Any]
    worst: list[tuple[Example, str, float]]
    loads_E: list[np.ndarray]


def write_training_page(
    path: Path,
    result: dict[str, Any],
    settings: dict[str, Any],
    data: TaskData,
    task_type: TaskType,
    run: TrainerRun,
    classifier: SpartanClassifier,
    rows: EncodedExamples,
    learning: Learning | None,
) -> None:
    """Write the page to `path`, whole or not at all; UsageError where it cannot be written."""
    trained = Trained(result, settings, worst_rows(data, task_type, run, rows), parent_loads(classifier, rows))
    write_page(path, render(trained, learning))


def worst_rows(
    data: TaskData, task_type: TaskType, run: TrainerRun, rows: EncodedExamples
) -> list[tuple[Example, str, float]]:
    """The development rows that are furthest from their labels, with the answer and its `TaskType.losses`."""
    order = rows.order_by_length()
    losses_N = task_type.losses(run.logits, run.targets)
    chosen = np.argsort(-losses_N, kind="stable")[:WORST]
    answers = [_told(task_type.answer(run.logits[at], data.labels)) for at in chosen]
    return [
        (data.eval_examples[order[at]], answer, float(losses_N[at])) for at, answer in zip(chosen, answers, strict=True)
    ]


def _told(answer: dict[str, Any]) -> str:
    if "labels" in answer:
        return in_words(tuple(answer["labels"]))
    return f"{answer['score']:.4g}" if answer["label"] is None else answer["label"]


def parent_loads(classifier: SpartanClassifier, rows: EncodedExamples) -> list[np.ndarray]:
    """Of every memory each parent's mean weight over tokens [E], on up to `LOADED_ROWS` rows."""
    sums: list[np.ndarray] = []
    tokens = 0.0
    for batch in rows.by_length(range(min(LOADED_ROWS, len(rows)))).batches(classifier.config.pad_token_id or 0):
        mask_BL1 = batch["attention_mask"].unsqueeze(-1)
        weights = classifier.trace(batch["input_ids"], batch["attention_mask"]).parent_weights
        found = [(weights_BLE * mask_BL1).sum((0, 1)).double().numpy() for weights_BLE in weights]
        sums = [one + other for one, other in zip(sums, found, strict=True)] if sums else found
        tokens += float(mask_BL1.sum())
    return [each / tokens for each in sums]


def render(trained: Trained, learning: Learning | None) -> str:
    """The page as HTML."""
    result = trained.result
    name, best = Path(result["model"]).name, result["best"]
    figures = "".join(f"<div><b>{best[key]:.4f}</b>{_words(key)}</div>" for key in best)
    verdict = ""
    if learning is not None:
        verdict = f"<p class='verdict{'' if learning.learned else ' no'}'>{_safe(learning.line)}</p>"
    body = [
        f"<h1>Training of {_safe(name)}</h1><p class='soft'>{_safe(result['why'])}; {result['train_rows']:,} rows, "
        f"{result['eval_rows']:,} development rows, {result['trainable_parameters']:,} parameters trained in "
        f"{result['seconds']:.0f} s</p>",
        verdict,
        f"<p>Kept: the best by {_words(result['metric'])}, on the development rows:</p>",
        f"<div class='figures'>{figures}</div>",
        "<h2>Course</h2>" + _curves(result["history"], result["metric"]),
        _classes(result["details"]),
        _numbers(result["details"]),
        _loads(trained.loads_E),
        "<h2>Development texts that are furthest from their labels</h2>"
        + _table(
            ("text", "label", "answer", "loss"),
            [
                (" | ".join(filter(None, (each.text, each.text_pair))), in_words(each.label), answer, f"{loss:.3f}")
                for each, answer, loss in trained.worst
            ],
        ),
        "<h2>Rows</h2>" + _counts(result["rows"], result["held_out"]),
        "<h2>Settings</h2>" + _table(("setting", ""), [(key, str(value)) for key, value in trained.settings.items()]),
        "<h2>Versions</h2>" + _table(("package", ""), list(training_versions().items())),
    ]
    return page(f"Training of {name}", STYLE + _OWN_STYLE, "\n".join(body))


def _safe(text: str) -> str:
    return html.escape(text)


def _words(name: str) -> str:
    return _safe(name.replace("_", " "))


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["".join(f"<th>{_safe(each)}</th>" for each in head)]
    lines += ["".join(f"<td>{_safe(cell)}</td>" for cell in row) for row in rows]
    return "<div class='wide'><table>" + "".join(f"<tr>{line}</tr>" for line in lines) + "</table></div>"


def _curves(history: Sequence[dict[str, float]], metric: str) -> str:
    """Measure (full line, left axis) and loss (second line, right axis) over the epochs."""
    epochs = [entry["epoch"] for entry in history]
    parts = [f"<line class='axis' x1='{_MARGIN}' x2='{_WIDTH - _MARGIN}' y1='{_HEIGHT}' y2='{_HEIGHT}'/>"]
    for name, style, side in ((metric, "curve", 0), ("loss", "curve second", 1)):
        values = [entry[name] for entry in history]
        low, high = min(values), max(values)
        points = [
            (
                _MARGIN + (_WIDTH - 2 * _MARGIN) * (epoch - min(epochs)) / ((max(epochs) - min(epochs)) or 1),
                _HEIGHT - 16 - (_HEIGHT - 40) * (value - low) / ((high - low) or 1),
            )
            for epoch, value in zip(epochs, values, strict=True)
        ]
        parts.append(f"<polyline class='{style}' points='{' '.join(f'{x:.1f},{y:.1f}' for x, y in points)}'/>")
        parts += [f"<circle class='{style}' cx='{x:.1f}' cy='{y:.1f}' r='3'/>" for x, y in points]
        anchor, at = ("start", 0) if side == 0 else ("end", _WIDTH)
        parts.append(f"<text x='{at}' y='{_HEIGHT - 12}' text-anchor='{anchor}'>{low:.3f}</text>")
        parts.append(f"<text x='{at}' y='28' text-anchor='{anchor}'>{high:.3f}</text>")
        parts.append(f"<text class='name' x='{at}' y='12' text-anchor='{anchor}'>{_words(name)}</text>")
    parts.append(f"<text x='{_MARGIN}' y='{_HEIGHT + 18}'>epoch {epochs[0]:g}</text>")
    parts.append(f"<text x='{_WIDTH - _MARGIN}' y='{_HEIGHT + 18}' text-anchor='end'>epoch {epochs[-1]:g}</text>")
    label = f"{metric} and loss over the epochs"
    picture = f"<svg viewBox='0 0 {_WIDTH} {_HEIGHT + 24}' role='img' aria-label='{_words(label)}'>"
    return picture + "".join(parts) + f"</svg><p class='soft'>{_words(metric)} (left), loss (right, orange)</p>"


def _classes(details: dict[str, Any]) -> str:
    if "classes" not in details:
        return ""
    columns = [name for name in _PER_CLASS if all(name in each for each in details["classes"].values())]
    table = _table(
        ("class", "rows", "given", *columns),
        [
            (name, str(each["rows"]), str(each["given"]), *(f"{each[column]:.3f}" for column in columns))
            for name, each in details["classes"].items()
        ],
    )
    matrix = _matrix(list(details["classes"]), details["confusion"]) if "confusion" in details else ""
    return "<h2>Classes</h2>" + table + matrix


def _matrix(labels: list[str], counts: list[list[int]]) -> str:
    """Rows: the label; columns: the answer. A cell is as dark as its share of its row."""
    if len(labels) > _MATRIX_CLASSES:
        return f"<p class='soft'>{len(labels)} classes are too many for a matrix.</p>"
    head = "<td></td>" + "".join(f"<td>{_safe(label)}</td>" for label in labels)
    lines = [f"<tr>{head}</tr>"]
    for label, row in zip(labels, counts, strict=True):
        shares = [round(100 * count / (sum(row) or 1)) for count in row]
        cells = "".join(
            f"<td style='background: color-mix(in srgb, var(--fill) {share}%, transparent)'>{count}</td>"
            for count, share in zip(row, shares, strict=True)
        )
        lines.append(f"<tr><td class='name'>{_safe(label)}</td>{cells}</tr>")
    return (
        "<h2>Confusion</h2><p class='soft'>Rows are labels, columns answers.</p>"
        f"<div class='wide'><table class='matrix'>{''.join(lines)}</table></div>"
    )


def _numbers(details: dict[str, Any]) -> str:
    if "answers" not in details:
        return ""
    rows = [(side, f"{each['mean']:.4g}", f"{each['std']:.4g}") for side, each in details.items()]
    return "<h2>Spread</h2>" + _table(("", "mean", "standard deviation"), rows)


def _loads(loads: Sequence[np.ndarray]) -> str:
    if not loads:
        return ""
    parts = ["<h2>Parents' load</h2><p class='soft'>Each parent's mean weight over tokens, memory by memory.</p>"]
    for number, load_E in enumerate(loads, 1):
        bars = "".join(
            f"<i style='height: {100 * load / (load_E.max() or 1):.0f}%' title='parent {parent}: {load:.3f}'></i>"
            for parent, load in enumerate(load_E)
        )
        dead = int((load_E == 0).sum())
        told = f"memory {number}: busiest {load_E.max():.3f}" + (f", {dead} never chosen" if dead else "")
        parts.append(f"<p>{told}</p><div class='load'>{bars}</div>")
    return "".join(parts)


def _counts(rows: dict[str, dict[str, int]], held_out: str | None) -> str:
    names = list(next(iter(rows.values())))
    table = _table(("file", *names), [(part, *(str(counts[name]) for name in names)) for part, counts in rows.items()])
    return table + ("" if held_out is None else f"<p class='soft'>Held out: {_safe(held_out)}</p>")
