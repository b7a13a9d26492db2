"""slim.html: what slimming removed, what that costs, how fast the result is. Nothing is fetched and nothing runs."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from pathlib import Path

from spartanc.base.files import write_whole
from spartanc.base.pages import STYLE, page
from spartanc.models.slim.request import SlimResult

_WIDTH, _HEIGHT, _MARGIN = 640, 180, 46


def write_slim_page(path: Path, result: SlimResult) -> None:
    """Write the page. Raises OSError."""
    body = "\n".join([_head(result), _layers(result), _course(result), _judged(result), _texts(result)])
    write_whole(path, page("A slimmer encoder", STYLE, body))


def _head(result: SlimResult) -> str:
    figures = [
        (f"{result.modelled_speedup:.2f} ×", f"as fast on {result.target} (modelled, int8, {result.length} tokens)"),
        (f"{result.units:,.0f} of {result.units_before:,}", "units in a feed-forward, in the mean"),
        (f"{result.parameters / 1e6:.1f} M", f"parameters, of {result.parameters_before / 1e6:.1f} M"),
        (f"{result.unexplained[-1]:.1%}", "of the last hidden states' variance missed"),
    ]
    cells = "".join(f"<div><b>{one}</b>{html.escape(other)}</div>" for one, other in figures)
    told = (
        f"{html.escape(result.sparsifier)}; {result.steps:,} steps of distillation in {result.seconds:.0f} s; "
        f"modelled time of one core: {result.modelled_ms_before:.1f} ms before, {result.modelled_ms:.1f} ms now. "
        "Models and task files of the encoder it was made from do not fit it: train tasks on this one."
    )
    return f"<h1>A slimmer encoder</h1><p class='soft'>{told}</p><div class='figures'>{cells}</div>"


def _layers(result: SlimResult) -> str:
    removed = {index: each for index, each in enumerate(result.removed)}
    rows = []
    for index, now in enumerate(result.unexplained):
        first = result.unexplained_at_first[index] if result.unexplained_at_first else None
        each = removed.get(index if len(removed) > 1 else 0)
        units = "" if each is None else f"{each.units:,} of {each.units_before:,}"
        lost = "" if each is None or each.lost is None else f"{each.lost:.1%}"
        rows.append((str(index), units, lost, "" if first is None else f"{first:.1%}", f"{now:.1%}"))
    names = ("layer", "units", "of its target missed", "missed before distillation", "and after")
    return "<h2>Layer by layer</h2>" + _table(names, rows)


def _course(result: SlimResult) -> str:
    if len(result.losses) < 2:
        return ""
    steps, losses = zip(*result.losses, strict=True)
    highest = max(losses)
    across, up = (_WIDTH - _MARGIN - 8) / steps[-1], (_HEIGHT - 40) / highest
    points = " ".join(f"{_MARGIN + across * step:.1f},{_HEIGHT - 24 - up * loss:.1f}" for step, loss in result.losses)
    return (
        f"<h2>Loss of distillation</h2><svg viewBox='0 0 {_WIDTH} {_HEIGHT}' role='img' aria-label='loss by steps'>"
        f"<line class='axis' x1='{_MARGIN}' y1='{_HEIGHT - 24}' x2='{_WIDTH}' y2='{_HEIGHT - 24}'/>"
        f"<polyline class='curve' points='{points}'/>"
        f"<text x='0' y='20'>{highest:.3f}</text><text x='0' y='{_HEIGHT - 24}'>0</text>"
        f"<text x='{_WIDTH}' y='{_HEIGHT - 6}' text-anchor='end'>{steps[-1]:,} steps</text></svg>"
    )


def _judged(result: SlimResult) -> str:
    if not result.judged:
        return (
            "<h2>Tasks</h2><p>None given. <code>--judge FILE</code> compares both encoders on labelled texts, best on "
            "tasks whose texts were not among those it learned from.</p>"
        )
    rows = [
        (
            html.escape(each.file),
            f"{each.rows:,}",
            f"{each.dense:.4f}",
            f"{each.slim:.4f}",
            f"{100 * (each.slim - each.dense):+.2f}" + ("" if each.error is None else f" ± {100 * each.error:.2f}"),
        )
        for each in result.judged
    ]
    names = ("probe on mean vectors", "rows", "before", "now", "points")
    return "<h2>Tasks</h2>" + _table(names, rows)


def _texts(result: SlimResult) -> str:
    rows = [(html.escape(name), f"{count:,}") for name, count in result.texts.items()]
    return f"<h2>Texts</h2><p>{result.held_out} of them were held out.</p>" + _table(("file", "texts"), rows)


def _table(names: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{name}</th>" for name in names)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"
