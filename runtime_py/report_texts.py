"""Of the bench's page: what each stage of the pipeline did to the results, and the texts whose results moved most."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

_SHOWN_LETTERS = 160  # of a text


def stages_table(verification: Mapping[str, Any] | None) -> str:
    """`stages` of `verify --stages --json`, with the signal over the noise in each layer's output; "" without."""
    stages = (verification or {}).get("stages")
    if not stages:
        return ""
    layers = max(len(each["layers"] or ()) for each in stages)
    names = "".join(f"<th>layer {number + 1}, dB</th>" for number in range(layers))
    rows = "".join(
        f"<tr><td>{html.escape(each['stage'])}</td><td>{_share(each['label_agreement'])}</td>"
        f"<td>{difference_said(each['max_abs_diff'], '.1e')}</td>{_noise(each['layers'] or (), layers)}</tr>"
        for each in stages
    )
    head = f"<tr><th>stage</th><th>same labels</th><th>difference</th>{names}</tr>"
    note = "dB: the signal over the noise of a layer's output, against eager PyTorch. Higher is nearer."
    return f'<div class="wide"><table>{head}{rows}</table></div>\n<p class="soft">{note}</p>'


def worst_texts(verification: Mapping[str, Any] | None) -> str:
    """`worst` of `verify --json`; "" without."""
    rows = (verification or {}).get("worst")
    if not rows:
        return ""
    said = "".join(
        f"<tr><td>{html.escape((row['text'] or '')[:_SHOWN_LETTERS])}</td><td>{row['row']}</td>"
        f"<td>{difference_said(row['max_abs_diff'], '.3g')}</td><td>{_called(row)}</td></tr>"
        for row in rows
    )
    head = "<tr><th>text</th><th>row</th><th>moved by</th><th>label</th></tr>"
    return f'<div class="wide"><table>{head}{said}</table></div>'


def noise_said(layer: Mapping[str, Any]) -> str:
    """The signal over the noise of one of `layers`, in dB."""
    if not layer.get("finite", True):
        return "not finite"
    return "exact" if layer["snr_db"] is None else f"{layer['snr_db']:.1f}"


def difference_said(value: float | None, form: str) -> str:
    """A largest difference in the format `form`; None stands in JSON for what is not finite."""
    return "not finite" if value is None else f"{value:{form}}"


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.2%}"


def _noise(layers: Any, count: int) -> str:
    cells = [noise_said(layer) for layer in layers]
    return "".join(f"<td>{cell}</td>" for cell in [*cells, *[""] * (count - len(cells))])


def _called(row: Mapping[str, Any]) -> str:
    before, after = (f"{each:.4g}" if isinstance(each, float) else str(each) for each in row["labels"])
    return html.escape(before if row["labels_agree"] else f"{before}, now {after}")
