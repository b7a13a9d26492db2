"""The report of `spartanc bench --html`: one page that needs nothing else, readable on a phone.

All pictures are SVG inside the page; nothing is fetched and nothing runs.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from spartanc.base.pages import STYLE, page, write_page
from spartanc.errors import UsageError
from spartanc.runtime_py.probe import is_number
from spartanc.runtime_py.report_texts import difference_said, stages_table, worst_texts
from spartanc.runtime_py.strict_json import parse_object

WIDTH, HEIGHT = 640, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 16, 14, 40
_BAR_HEIGHT, _MOST_BARS, _MOST_BINS = 26, 14, 30


def write_report(result: dict[str, Any], path: Path, verification: dict[str, Any] | None = None) -> None:
    """Write the page for what `bench_bundle` returned; `verification` is the JSON of `spartanc verify`.

    Raises UsageError where it can't be written.
    """
    write_page(path, render(result, verification))


def read_verification(path: Path) -> dict[str, Any]:
    """The JSON that `spartanc verify --json` printed into a file; UsageError for anything else."""
    try:
        found = parse_object(path.read_bytes())
    except (OSError, ValueError) as error:
        raise UsageError(f"`{path}` is not what `spartanc verify --json` prints: {error}") from error
    if not {"label_agreement", "max_abs_diff", "samples", "worst"} <= found.keys():
        raise UsageError(f"`{path}` is not what `spartanc verify --json` prints: `worst` or another key is missing")
    try:  # now, and not when all is measured
        _accuracy(None, found), stages_table(found), worst_texts(found)
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise UsageError(
            f"`{path}` is not what `spartanc verify --json` prints: it can't be shown ({error})"
        ) from error
    return found


def text_summary(result: dict[str, Any]) -> str:
    """The result in a few lines, for a terminal."""
    latency, (low, high) = result["latency_ms"], result["median_interval_ms"]
    task = f"task {result['task']}, " if result.get("task") else ""
    lines = [
        f"{task}{result['length']} tokens, {result['threads']} threads, {result['runs']} runs on {result['device']}",
        f"median {_figure(latency['p50'])} ms ({_figure(low)} to {_figure(high)}), p90 {_figure(latency['p90'])},"
        f" p95 {_figure(latency['p95'])}, p99 {_figure(latency['p99'])} ms",
        f"{_figure(result['throughput_per_s'])} texts a second, loads in {_figure(result['load_ms'])} ms"
        f" (cold {_figure(result['load_cold_ms'])}), peak memory {_figure(result['peak_rss_mb'])} MiB",
    ]
    if "ratio" in result:
        ratio = result["ratio"]
        lines.append(f"{ratio['median']:.2f} times as fast as the baseline ({ratio['low']:.2f} to {ratio['high']:.2f})")
    for point in result["lengths"]:
        lines.append(f"  {point['length']} tokens: {_figure(point['latency_ms']['p50'])} ms")
    for point in result["thread_counts"]:
        lines.append(f"  {point['threads']} threads: {_figure(point['latency_ms']['p50'])} ms")
    if result.get("instructions"):
        counted = result["instructions"]
        lines.append(
            f"{counted['instructions'] / 1e6:.1f} million instructions an answer on {counted['cpu']}, counted by the"
            " emulator: what it executes, not how long it takes"
        )
    if result.get("modelled"):
        lines.append(_modelled_line(result["modelled"]))
    lines += [f"left out: {each}" for each in result.get("skipped_checks") or ()]
    for each in result.get("estimates") or ():
        lines.append(f"estimate, not measured: {each['title']} at best {_figure(each['estimated_ms'])} ms")
    lines += ["trustworthy"] if result["trustworthy"] else [f"not trustworthy: {why}" for why in result["reasons"]]
    return "\n".join(lines)


def render(result: dict[str, Any], verification: dict[str, Any] | None = None) -> str:
    title = f"{Path(result['bundle']).name} on {result['device']}"
    task = f" task {html.escape(result['task'])}," if result.get("task") else ""
    sections = [
        _verdict(result),
        _figures(result),
        _section("Latency", _histogram(result["run_ms"], result["latency_ms"])),
        _section("Latency over length", _curve(result["lengths"], "length", "tokens")),
        _section("Latency over threads", _curve(result["thread_counts"], "threads", "threads")),
        _section("Time by operator", _operators(result["operators"])),
        _section("Size on disk", _sizes(result["size_on_disk"])),
        _section("Accuracy", _accuracy(result.get("parity"), verification)),
        _section("Noise by stage", stages_table(verification)),
        _section("Texts whose results moved most", worst_texts(verification)),
        _section("Modelled, not measured", _modelled(result.get("modelled"))),
        _section("Estimates, not measurements", _estimates(result.get("estimates"))),
        _section("How this was measured", _method(result)),
    ]
    body = (
        f"<h1>{html.escape(title)}</h1>\n"
        f'<p class="soft">target {html.escape(str(result.get("target", "")))},{task} {result["length"]} tokens,'
        f" {result['threads']} thread{'s' if result['threads'] != 1 else ''}</p>\n"
        + "\n".join(section for section in sections if section)
    )
    return page(title, STYLE, body)


def _section(title: str, body: str) -> str:
    return f"<h2>{html.escape(title)}</h2>\n{body}" if body else ""


def _verdict(result: dict[str, Any]) -> str:
    if result["trustworthy"]:
        return '<p class="verdict">These times are trustworthy by all checks that this device allows.</p>'
    reasons = "".join(f"<li>{html.escape(reason)}</li>" for reason in result["reasons"])
    return f'<div class="verdict no"><p>Do not trust these times:</p><ul>{reasons}</ul></div>'


def _figures(result: dict[str, Any]) -> str:
    latency = result["latency_ms"]
    figures = [
        ("median", f"{_figure(latency['p50'])} ms"),
        ("95 of 100 within", f"{_figure(latency['p95'])} ms"),
        ("a second", f"{_figure(result['throughput_per_s'])} texts"),
        ("to load", f"{_figure(result['load_ms'])} ms"),
        ("to load, cold", f"{_figure(result['load_cold_ms'])} ms"),
        ("peak memory", f"{_figure(result['peak_rss_mb'])} MiB"),
    ]
    if "ratio" in result:
        ratio = result["ratio"]
        figures.append((f"times the baseline ({ratio['low']:.2f} to {ratio['high']:.2f})", f"{ratio['median']:.2f}"))
    cells = "".join(f"<div><b>{html.escape(value)}</b>{html.escape(name)}</div>" for name, value in figures)
    return f'<div class="figures">{cells}</div>'


def _histogram(run_ms: Sequence[float], latency: dict[str, float]) -> str:
    """Times up to the 99th percentile; the tail beyond it is told in words."""
    values = np.asarray(run_ms, dtype=np.float64)
    shown = values[values <= latency["p99"]]
    low, high = float(shown.min()), float(shown.max())
    high = high if high > low else low + max(low, 1e-3) * 0.01
    counts, edges = np.histogram(shown, bins=min(_MOST_BINS, max(5, int(len(shown) ** 0.5))), range=(low, high))
    x, y = _scale(low, high, _LEFT, WIDTH - _RIGHT), _scale(0, counts.max(), HEIGHT - _BOTTOM, _TOP)
    bars = "".join(
        f'<rect class="bar" x="{x(a) + 0.5:.1f}" y="{y(count):.1f}" width="{max(x(b) - x(a) - 1, 0.5):.1f}"'
        f' height="{y(0) - y(count):.1f}"/>'
        for count, a, b in zip(counts, edges, edges[1:], strict=False)
        if count
    )
    marks = "".join(
        f'<line class="mark" x1="{x(latency[name]):.1f}" x2="{x(latency[name]):.1f}" y1="{_TOP}"'
        f' y2="{HEIGHT - _BOTTOM}"/><text x="{x(latency[name]):.1f}" y="{_TOP - 3}" text-anchor="middle">{name}</text>'
        for name in ("p50", "p95")
        if low <= latency[name] <= high
    )
    picture = _svg(
        "Distribution of the measured times",
        HEIGHT,
        bars + marks + _x_axis(x, low, high, "ms") + _y_axis(y, 0, counts.max(), "runs"),
    )
    return picture + (
        f'<p class="soft">{len(values)} runs, {_figure(latency["min"])} to {_figure(float(values.max()))} ms;'
        f" the slowest hundredth is beyond {_figure(latency['p99'])} ms.</p>"
    )


def _curve(points: Sequence[dict[str, Any]], key: str, unit: str) -> str:
    if len(points) < 2:
        return ""
    at = [float(point[key]) for point in points]
    medians = [point["latency_ms"]["p50"] for point in points]
    top = max(point["median_interval_ms"][1] for point in points) * 1.05
    x, y = _scale(0, max(at), _LEFT, WIDTH - _RIGHT), _scale(0, top, HEIGHT - _BOTTOM, _TOP)
    path = " ".join(
        f"{'L' if i else 'M'}{x(a):.1f} {y(m):.1f}" for i, (a, m) in enumerate(zip(at, medians, strict=True))
    )
    dots = "".join(
        f'<circle class="bar" cx="{x(a):.1f}" cy="{y(m):.1f}" r="4"/>'
        f'<line class="curve" x1="{x(a):.1f}" x2="{x(a):.1f}" y1="{y(point["median_interval_ms"][0]):.1f}"'
        f' y2="{y(point["median_interval_ms"][1]):.1f}"/>'
        for a, m, point in zip(at, medians, points, strict=True)
    )
    axes = _x_axis(x, 0, max(at), unit) + _y_axis(y, 0, top, "ms")
    rows = "".join(
        f"<tr><td>{point[key]}</td><td>{_figure(point['latency_ms']['p50'])}</td>"
        f"<td>{_figure(point['latency_ms']['p95'])}</td><td>{point['runs']}</td></tr>"
        for point in points
    )
    return (
        _svg(f"Median latency over {unit}", HEIGHT, f'<path class="curve" d="{path}"/>{dots}{axes}')
        + f"<table><tr><th>{unit}</th><th>median ms</th><th>p95 ms</th><th>runs</th></tr>{rows}</table>"
    )


def _operators(rows: Sequence[dict[str, Any]] | None) -> str:
    if not rows:
        return ""
    bars = []
    for row in rows[:_MOST_BARS]:
        name = f"{row['name']} ({row['delegate']})" if row["delegate"] else row["name"]
        calls = f", {row['calls']}×" if row["calls"] else ""
        bars.append((name, row["ms"], f"{_figure(row['ms'])} ms, {row['share']:.0%}{calls}"))
    return _bars("Time by operator", bars)


def _sizes(files: dict[str, int]) -> str:
    largest = sorted(files.items(), key=lambda item: -item[1])[:_MOST_BARS]
    total = sum(files.values())
    return _bars("Size of every file", [(name, size, _bytes(size)) for name, size in largest]) + (
        f'<p class="soft">{_bytes(total)} in all.</p>'
    )


def _accuracy(parity: dict[str, Any] | None, verification: dict[str, Any] | None) -> str:
    parts = []
    if verification is not None:
        for name, value in _of_both_sides(verification).items():
            parts.append(f"<tr><td>{html.escape(name)}</td><td>{value:.4f}</td></tr>")
        if verification["label_agreement"] is not None:
            parts.append(f"<tr><td>labels agree</td><td>{verification['label_agreement']:.4f}</td></tr>")
        moved = difference_said(verification["max_abs_diff"], ".3g")
        parts.append(f"<tr><td>largest logit difference</td><td>{moved}</td></tr>")
        parts.append(f"<tr><td>inputs</td><td>{verification['samples']}</td></tr>")
    elif parity:
        for name, what in (("label_agreement", "labels agree"), ("correlation", "correlation")):
            if parity.get(name) is not None:
                parts.append(f"<tr><td>{what} with eager, at compile time</td><td>{parity[name]:.4f}</td></tr>")
        parts.append(f"<tr><td>largest logit difference</td><td>{parity['max_abs_diff']:.3g}</td></tr>")
        parts.append(f"<tr><td>inputs</td><td>{parity['samples']}</td></tr>")
    return f"<table>{''.join(parts)}</table>" if parts else ""


def _of_both_sides(verification: dict[str, Any]) -> dict[str, float]:
    """Measures that eager and the device have both, whatever the task type calls them."""
    found: dict[str, float] = {}
    for key in verification:
        name = key.removesuffix("_eager")
        pair: dict[str, Any] = {side: verification.get(f"{name}_{side}") for side in ("eager", "device")}
        if key != name and all(map(is_number, pair.values())):
            found |= {f"{name.replace('_', ' ')}, {side}": float(value) for side, value in pair.items()}
    return found


def _modelled_line(modelled: dict[str, Any]) -> str:
    return (
        f"modelled, not measured: {_figure(modelled['ms'])} ms on one core of {modelled['board']}"
        f" ({_figure(modelled['fast_ms'])} to {_figure(modelled['slow_ms'])} by how fast it divides);"
        f" all cores can't be below {_figure(modelled['all_cores_ms_at_least'])} ms"
    )


def _modelled(modelled: dict[str, Any] | None) -> str:
    if not modelled:
        return ""
    rows = [
        ("one core, ms", _figure(modelled["ms"])),
        ("with fast and with slow divisions, ms", f"{_figure(modelled['fast_ms'])} to {_figure(modelled['slow_ms'])}"),
        ("all cores: no less than, ms", _figure(modelled["all_cores_ms_at_least"])),
        ("instructions, millions", _figure(modelled["instructions"] / 1e6)),
        ("cycles, millions", _figure(modelled["cycles"] / 1e6)),
        ("read from memory", _bytes(modelled["bytes_from_memory"])),
    ]
    cells = "".join(f"<tr><td>{html.escape(name)}</td><td>{value}</td></tr>" for name, value in rows)
    return (
        "<p>From instructions counted under emulation, llvm-mca's cycles for the core and simulated caches: no board"
        " ran this. Published timings of other networks were met within 30%, 11% in the mean.</p>"
        f"<table><tr><th>{html.escape(modelled['board'])}, one answer</th><th></th></tr>{cells}</table>"
    )


def _estimates(estimates: Sequence[dict[str, Any]] | None) -> str:
    if not estimates:
        return ""
    rows = "".join(
        f"<tr><td>{html.escape(each['title'])}</td><td>{_figure(each['estimated_ms'])}</td>"
        f"<td>{html.escape(each['bound_by'])}</td></tr>"
        for each in estimates
    )
    return (
        "<p>From multiply-adds and bytes against each board's peak and bandwidth: no board ran this, and a real one"
        " will be slower.</p>"
        f"<table><tr><th>board</th><th>at best, ms</th><th>bound by</th></tr>{rows}</table>"
    )


def _method(result: dict[str, Any]) -> str:
    low, high = result["median_interval_ms"]
    machine = result["machine"]
    load = machine["other_load"]
    text = [
        f"One process ran the program {result['warmup']} times to warm up and then {result['runs']} times on"
        f" {result['length']} tokens with {result['threads']} threads; every run was timed by itself. The median lies"
        f" between {_figure(low)} and {_figure(high)} ms with 95% confidence, whatever the distribution.",
        "Loading was timed in processes of their own, cold after the program was dropped from the page cache; the"
        " median is given. Peak memory is the whole process's, from a separate short run.",
        "The times leave the tokenizer out.",
    ]
    if load is not None:
        text.append(f"During the runs other programs took {load:.1%} of the processors' time.")
    if result["emulated"]:
        text.append("The processor was emulated: its results are the device's, its times are not.")
    if "ratio" in result:
        text.append(
            "Both programs ran in turn in one process, and the ratio was taken pair by pair: above 1 is faster."
        )
    text += [f"Not done: {skipped}." for skipped in result["skipped_checks"]]
    return "".join(f"<p>{html.escape(sentence)}</p>" for sentence in text)


def _bars(title: str, bars: Sequence[tuple[str, float, str]]) -> str:
    """Horizontal bars, a name above each."""
    step = _BAR_HEIGHT + 18
    most = max((value for _, value, _ in bars), default=1) or 1
    parts = []
    for i, (name, value, label) in enumerate(bars):
        top = i * step
        parts.append(
            f'<text class="name" x="0" y="{top + 13}">{html.escape(name)}</text>'
            f'<text x="{WIDTH}" y="{top + 13}" text-anchor="end">{html.escape(label)}</text>'
            f'<rect class="bar" x="0" y="{top + 19}" width="{max(value / most * WIDTH, 1):.1f}" height="12" rx="2"/>'
        )
    return _svg(title, len(bars) * step, "".join(parts))


def _svg(title: str, height: int, body: str) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{html.escape(title)}">'
        f"<title>{html.escape(title)}</title>{body}</svg>"
    )


def _scale(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    span = (high - low) or 1.0
    return lambda value: start + (value - low) / span * (end - start)


def _x_axis(x: Callable[[float], float], low: float, high: float, unit: str) -> str:
    bottom = HEIGHT - _BOTTOM
    ticks = "".join(
        f'<text x="{x(value):.1f}" y="{bottom + 18}" text-anchor="middle">{_figure(value)}</text>'
        for value in np.linspace(low, high, 5)
    )
    name = f'<text x="{WIDTH - _RIGHT}" y="{HEIGHT - 4}" text-anchor="end">{html.escape(unit)}</text>'
    return f'<line class="axis" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{bottom}" y2="{bottom}"/>{ticks}{name}'


def _y_axis(y: Callable[[float], float], low: float, high: float, unit: str) -> str:
    ticks = "".join(
        f'<text x="{_LEFT - 6}" y="{y(value) + 4:.1f}" text-anchor="end">{_figure(value)}</text>'
        for value in np.linspace(low, high, 4)
    )
    name = f'<text x="0" y="{HEIGHT - 4}">{html.escape(unit)}</text>'
    return f'<line class="axis" x1="{_LEFT}" x2="{_LEFT}" y1="{_TOP}" y2="{HEIGHT - _BOTTOM}"/>{ticks}{name}'


def _figure(value: float) -> str:
    """Three significant digits, without an exponent where that can be read."""
    if value == 0 or not np.isfinite(value):
        return "0" if value == 0 else str(value)
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.3g}"


def _bytes(size: float) -> str:
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{_figure(size)} {unit}"
        size /= 1000
    return f"{_figure(size)} GB"
