"""What a study's runs come to: a table, means over tasks, and one page with every run as a dot."""

from __future__ import annotations

import html
import statistics
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from spartanc.base.pages import page


def chosen_of(group: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The runs of a comparison with the factor whose first seed is best on the development split."""
    first = [record for record in group if record["run"]["seed"] == 0]
    if not first:
        return list(group)
    factor = max(first, key=lambda record: record["dev"])["run"]["factor"]
    return [record for record in group if record["run"]["factor"] == factor]


def summarise(records: Sequence[dict[str, Any]], steps: dict[str, float]) -> list[dict[str, Any]]:
    """A row for every task, number of shots and method; its factor is the first seed's best on the dev split."""
    groups: dict[tuple, list[dict[str, Any]]] = defaultdict(list)
    for record in records:
        run = record["run"]
        groups[run["task"], run["shots"], run["method"]].append(record)
    chosen = {key: chosen_of(group) for key, group in groups.items()}
    rows = []
    for (task, shots, method), group in chosen.items():
        rivals = [chosen[task, shots, name] for name in ("houlsby", "pfeiffer") if (task, shots, name) in chosen]
        goal = max((statistics.mean(record["dev"] for record in rival) for rival in rivals), default=None)
        times = [_time_to(record, goal) for record in group]
        reached = [moment for moment in times if moment is not None]
        tests = [record["test"] for record in group]
        rows.append(
            {
                "task": task,
                "shots": shots,
                "method": method,
                "seeds": len(group),
                "factor": group[0]["run"]["factor"],
                "dev": statistics.mean(record["dev"] for record in group),
                "test": statistics.mean(tests),
                "spread": statistics.stdev(tests) if len(tests) > 1 else 0.0,
                "parameters": group[0]["parameters"],
                "bytes": group[0]["bytes"],
                "step_seconds": steps.get(method),
                "seconds_to_best_adapter": statistics.mean(reached) if len(reached) == len(group) else None,
                "peak_rss_mb": max(record["peak_rss_mb"] for record in group),
            }
        )
    return rows


def means(table: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """For every number of shots and method, the mean of its scores over the tasks that all methods have."""
    methods = {row["method"] for row in table}
    cells = {(row["task"], row["shots"], row["method"]): row for row in table}
    out = []
    for shots in dict.fromkeys(row["shots"] for row in table):
        tasks = [
            task
            for task in dict.fromkeys(row["task"] for row in table)
            if all((task, shots, method) in cells for method in methods)
        ]
        for method in dict.fromkeys(row["method"] for row in table) if tasks else ():
            rows = [cells[task, shots, method] for task in tasks]
            out.append(
                {
                    "shots": shots,
                    "method": method,
                    "tasks": len(tasks),
                    "test": statistics.mean(row["test"] for row in rows),
                    "dev": statistics.mean(row["dev"] for row in rows),
                    "step_seconds": rows[0]["step_seconds"],
                }
            )
    return out


def _time_to(record: dict[str, Any], goal: float | None) -> float | None:
    if goal is None:
        return None
    return next((seconds for seconds, value in record["history"] if value >= goal), None)


_COLUMNS = (
    ("task", "task"),
    ("shots", "training rows"),
    ("method", "method"),
    ("test", "test"),
    ("spread", "± between seeds"),
    ("dev", "dev"),
    ("parameters", "trained parameters"),
    ("bytes", "bytes a task"),
    ("step_seconds", "s a step"),
    ("seconds_to_best_adapter", "s to best adapter's dev"),
    ("peak_rss_mb", "peak MB"),
)


def render(result: dict[str, Any], records: Sequence[dict[str, Any]]) -> str:
    """The report as one page: the table, and every run as a dot, a line of dots for each method."""

    def cell(name: str, value: Any) -> str:
        if name == "shots":
            return "all" if value is None else str(value)
        if value is None:
            return "not reached" if name == "seconds_to_best_adapter" else "–"
        return f"{value:.4f}" if isinstance(value, float) else html.escape(str(value))

    head = "".join(f"<th>{title}</th>" for _, title in _COLUMNS)
    body = "".join(
        "<tr>" + "".join(f"<td>{cell(name, row[name])}</td>" for name, _ in _COLUMNS) + "</tr>"
        for row in result["table"]
    )
    body += "".join(
        f"<tr><td>mean of {row['tasks']}</td><td>{cell('shots', row['shots'])}</td><td>{row['method']}</td>"
        f"<td>{row['test']:.4f}</td><td></td><td>{row['dev']:.4f}</td></tr>"
        for row in result["means"]
    )
    plots = []
    for key in dict.fromkeys((row["task"], row["shots"]) for row in result["table"]):
        dots = [record for record in records if (record["run"]["task"], record["run"]["shots"]) == key]
        plots.append(_plot(f"{key[0]}, {cell('shots', key[1])} rows", dots))
    return page(
        "Study",
        "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:80rem;padding:0 1rem}"
        "table{border-collapse:collapse}td,th{padding:.2rem .6rem;text-align:right;border-bottom:1px solid #ddd}",
        "<h1>Methods side by side</h1><p>Accuracy (correlation for regression, macro-F1 for several labels a "
        "text) on the test split; learning rates chosen on the development split.</p>"
        f"<table><tr>{head}</tr>{body}</table><h2>Every run</h2>{''.join(plots)}",
    )


def _plot(title: str, records: Sequence[dict[str, Any]]) -> str:
    methods = list(dict.fromkeys(record["run"]["method"] for record in records))
    low, high = min(record["test"] for record in records), max(record["test"] for record in records)
    span = (high - low) or 1.0
    height = 24 * len(methods) + 30
    out = [f"<h3>{html.escape(title)}</h3><svg width='640' height='{height}' role='img'>"]
    for index, method in enumerate(methods):
        y = 24 * index + 16
        out.append(f"<text x='0' y='{y + 4}' font-size='13'>{method}</text>")
        out.append(f"<line x1='90' x2='620' y1='{y}' y2='{y}' stroke='#ddd'/>")
        for record in records:
            if record["run"]["method"] == method:
                x = 100 + 510 * (record["test"] - low) / span
                said = f"seed {record['run']['seed']}: {record['test']:.4f}"
                out.append(f"<circle cx='{x:.1f}' cy='{y}' r='5' fill='#2b6cb0' opacity='.6'>")
                out.append(f"<title>{said}</title></circle>")
    out.append(f"<text x='90' y='{height - 2}' font-size='12'>{low:.4f}</text>")
    out.append(f"<text x='590' y='{height - 2}' font-size='12'>{high:.4f}</text></svg>")
    return "".join(out)
