"""Results for people: short tables on stdout. Everything here has its `--json` twin."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from spartanc.base.targets.catalogue import all_targets
from spartanc.runtime_py.data.counting import cut_texts, oddities
from spartanc.runtime_py.data.labels import in_words
from spartanc.runtime_py.prediction import Prediction
from spartanc.runtime_py.report_texts import noise_said

SHOWN_FALLBACKS = 12
SHOWN_CHARACTERS = 100  # of a text
SHOWN_CLASSES = 6
_TAKEN_APART = ("memories ", "linears ", "embeddings ")  # names of the stages that are one quantisation alone begin so


def _console() -> Console:
    return Console(highlight=False, soft_wrap=True)


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    for column in columns:
        table.add_column(column, justify="right" if column in ("bytes", "count", "score", "value") else "left")
    return table


def size(count: int) -> str:
    """Bytes in the unit a reader would take."""
    return f"{count / 1e6:.1f} MB" if count >= 100_000 else f"{count / 1e3:.1f} kB"


def shortened(text: str) -> str:
    """The beginning of a text, in one line."""
    line = " ".join(text[: 8 * SHOWN_CHARACTERS].split())
    return line if len(line) <= SHOWN_CHARACTERS else line[: SHOWN_CHARACTERS - 1] + "…"


def target_rows() -> list[dict[str, Any]]:
    return [
        {
            "name": target.name,
            "title": target.title,
            "cpu": target.cpu,
            "features": list(target.features),
            "cores": target.cores,
            "qemu_cpu": target.qemu_cpu,
            "default_quantization": target.default_quantization,
        }
        for target in all_targets()
    ]


def print_targets(rows: list[dict[str, Any]]) -> None:
    table = _table("target", "device", "cpu", "cores", "default quantisation")
    for row in rows:
        table.add_row(row["name"], row["title"], row["cpu"], str(row["cores"]), row["default_quantization"])
    _console().print(table)


def print_doctor(checks: list[dict[str, Any]]) -> None:
    table = _table("", "what", "found", "fix")
    for check in checks:
        mark = "[green]ok[/green]" if check["ok"] else "[yellow]--[/yellow]"
        table.add_row(mark, escape(check["name"]), escape(check["detail"]), escape(check["hint"] or ""))
    _console().print(table)


_PER_CLASS = ("precision", "recall", "f1", "threshold")


def print_training(result: dict[str, Any]) -> None:
    console = _console()
    console.print(f"[bold]{escape(result['model'])}[/bold]  {result['trainable_parameters']:,} parameters trained")
    console.print(escape(result["why"]))
    for part, counts in result["rows"].items():
        odd = ", ".join(f"{counts[name]} {name}" for name in ("empty", "duplicate", "contradictory"))
        console.print(f"{part} rows: {counts['rows']} ({odd})")
    if result["held_out"]:
        console.print(f"held out: {escape(result['held_out'])}")
    table = _table("epoch", "on the development rows")
    found = result["details"].get("classes", {})
    per_class = [name for name in _PER_CLASS if all(name in each for each in found.values())]
    classes = _table("class", "rows", "given", *per_class)
    for epoch in result["history"]:
        table.add_row(str(epoch.get("epoch")), ", ".join(f"{k} {v:.4f}" for k, v in epoch.items() if k != "epoch"))
    console.print(table)
    console.print(f"kept: the best by {result['metric']}, {result['best'][result['metric']]:.4f}")
    if result["majority_accuracy"] is not None:
        console.print(f"always the most frequent class: accuracy {result['majority_accuracy']:.4f}")
    for name, each in found.items():
        figures = (f"{each[key]:.3f}" for key in per_class)
        classes.add_row(escape(name), str(each["rows"]), str(each["given"]), *figures)
    if classes.row_count:
        console.print(classes)
    if none := result["details"].get("unlabelled"):
        console.print(f"without any label: {none['rows']} rows, {none['given']} given none")
    if result["html"]:
        console.print(f"page: {escape(result['html'])}")
    console.print(f"course: {escape(result['metrics_file'])}")
    if result["learned"] is False:
        console.print("[bold]no better than one answer to everything[/bold]")


def print_slimming(result: dict[str, Any]) -> None:
    console = _console()
    console.print(
        f"[bold]{escape(result['out'])}[/bold]  {result['units']:,.0f} of {result['units_before']:,} units a"
        f" feed-forward, {result['parameters'] / 1e6:.1f} of {result['parameters_before'] / 1e6:.1f} M parameters"
    )
    console.print(
        f"modelled, int8, {result['length']} tokens, one core of {result['target']}: {result['modelled_ms']:.1f} ms for"
        f" {result['modelled_ms_before']:.1f} before, {result['modelled_speedup']:.2f} times as fast"
    )
    missed = " ".join(f"{share:.1%}" for share in result["unexplained"])
    console.print(f"variance of hidden states missed on {result['held_out']} held-out texts, by layer: {missed}")
    table = _table("probe on mean vectors", "rows", "before", "now", "points")
    for each in result["judged"]:
        points = f"{100 * (each['slim'] - each['dense']):+.2f}"
        if each["error"] is not None:
            points += f" ± {100 * each['error']:.2f}"
        table.add_row(escape(each["file"]), str(each["rows"]), f"{each['dense']:.4f}", f"{each['slim']:.4f}", points)
    if table.row_count:
        console.print(table)
    console.print("models and task files of the encoder before do not fit it")


def print_vocabulary(result: dict[str, Any]) -> None:
    console = _console()
    console.print(
        f"[bold]{escape(result['out'])}[/bold]  {result['pieces']:,} of {result['pieces_before']:,} pieces,"
        f" {result['parameters'] / 1e6:.1f} of {result['parameters_before'] / 1e6:.1f} M parameters"
    )
    console.print(
        "texts of these pieces have the same ids but for their numbers; models of the encoder before do not fit it"
    )


def print_topics(result: dict[str, Any]) -> None:
    table = _table("layer", "information on the labels", "p", "dead parents")
    for number, layer in enumerate(result["layers"], 1):
        dead = ", ".join(str(parent) for parent in layer["dead_parents"]) or "none"
        table.add_row(str(number), f"{layer['information']:.3f}", f"{layer['p_value']:.3f}", dead)
    console = _console()
    console.print(f"[bold]{escape(result['model'])}[/bold]  {result['texts']} texts, {len(result['labels'])} labels")
    if (odd := oddities(result["rows"])) is not None:
        console.print(odd)
    if (cut := cut_texts(result["truncated"], result["texts"], result["max_length"])) is not None:
        console.print(cut)
    console.print(table)
    if result["html"]:
        console.print(f"page: {escape(result['html'])}")


def print_study(result: dict[str, Any]) -> None:
    table = _table("task", "shots", "method", "test", "spread", "parameters", "task file", "step")
    for row in result["table"]:
        step = "" if row["step_seconds"] is None else f"{row['step_seconds']:.3f} s"
        table.add_row(
            escape(row["task"]),
            str(row["shots"] or "all"),
            row["method"],
            f"{row['test']:.4f}",
            f"{row['spread']:.4f}",
            f"{row['parameters']:,}",
            size(row["bytes"]),
            step,
        )
    for row in result["means"]:
        table.add_row(f"mean of {row['tasks']}", str(row["shots"] or "all"), row["method"], f"{row['test']:.4f}")
    console = _console()
    console.print(
        f"{result['runs']} runs in {escape(result['out'])}" + ("" if result["complete"] else ", more to come")
    )
    console.print(table)


def print_fleet(result: dict[str, Any]) -> None:
    """Sizes of backbone and tasks, and what as many separate programs would take."""
    console = _console()
    table = _table("task", "labels", "memory", "bytes")
    for name, row in result["tasks"].items():
        memory = row["memory"]
        shape = f"{memory['parents']} parents, {memory['cells']} cells, {memory['top_k']} chosen"
        table.add_row(escape(name), str(len(row["labels"])) if row["labels"] else "score", shape, size(row["bytes"]))
    table.add_row("[dim]backbone[/dim]", "", "", size(result["backbone_bytes"]))
    console.print(table)
    console.print(
        f"{size(result['fleet_bytes'])} in all; {len(result['tasks'])} separate programs would take about"
        f" {size(result['separate_bytes'])}"
    )


def print_compile(result: dict[str, Any]) -> None:
    console = _console()
    parity = result["parity"]
    console.print(f"[bold]{escape(result['bundle'])}[/bold]  for {result['target']}, {result['seconds']:.1f} s")
    table = _table("file", "bytes")
    for name, count in by_folder(result["files"]).items():
        table.add_row(escape(name), size(count))
    console.print(table)
    console.print(
        f"memories fused    {result['fused_memories']}"
        + (f", {len(result['skipped'])} skipped" if result["skipped"] else "")
    )
    for each in result["passes"]:
        for skipped in each["skipped"]:
            said = f"{each['name']}: {skipped['node']}, {skipped['reason']}"
            console.print(f"  skipped         {escape(said)}")
    for said in zeros(result["passes"]):
        console.print(f"zeros             {escape(said)}")
    console.print(f"XNNPACK           {result['delegated_nodes']} operators in {result['delegates']} delegates")
    console.print(f"linear layers     {result['linears']['kernels']}: {escape(result['linears']['reason'])}")
    for form in ("fp32", "int8"):
        kept = result[f"kept_{form}"]
        if kept:
            more, slower = (sum(each[name] for each in kept) for name in ("bytes", "modelled_ms"))
            console.print(
                f"kept in {form}      {len(kept)} linears, to keep labels: {size(more)} and {slower:.1f} ms more,"
                " as modelled"
            )
    fallback = result["fallback_ops"]
    shown = [f"{op} ×{count}" for op, count in list(fallback.items())[:SHOWN_FALLBACKS]]
    rest = len(fallback) - len(shown)
    console.print(f"not delegated     {escape(', '.join(shown))}" + (f", and {rest} more kinds" if rest else ""))
    console.print(f"against eager     {escape(against_eager(parity))}")
    if "backbone_bytes" in result:
        print_fleet(result)
    if result["truncated"]:
        console.print(f"truncated         {result['truncated']} texts were longer than the longest input")


def zeros(passes: list[dict[str, Any]]) -> list[str]:
    """What became of zeros that the model brought, in a line each."""
    said = []
    for notes in (each["notes"] for each in passes):
        kind = "heads" if "heads" in notes else "units"
        if sites := notes.get("removed"):
            total = sum(site["of"] for site in sites)
            said.append(f"{notes[kind]} of {total} {kind} in {len(sites)} layers removed")
        if "zeros_left" in notes:
            said.append(notes["zeros_left"])
    return said


def by_folder(files: dict[str, int]) -> dict[str, int]:
    """Bytes of each file at the top, and of each folder with the number of its files."""
    shown: dict[str, int] = {}
    for folder in dict.fromkeys(name.partition("/")[0] for name in files):
        inside = [count for name, count in files.items() if name.startswith(f"{folder}/")]
        shown[f"{folder}/ ({len(inside)} files)" if inside else folder] = sum(inside) if inside else files[folder]
    return shown


def against_eager(parity: dict[str, Any]) -> str:
    """The figures of a comparison with eager, those that the task type has."""
    said = [f"largest difference {parity['max_abs_diff']:.1e} on {parity['samples']} inputs"]
    if parity.get("interval") and parity["label_agreement"] is not None:
        low, high = parity["interval"]
        said.insert(0, f"labels agree on {parity['label_agreement']:.2%} of {parity['texts']} texts")
        said.append(f"95% interval {low:.1%} to {high:.1%}")
    elif parity["label_agreement"] is not None:
        said.insert(0, f"labels agree on {parity['label_agreement']:.2%}")
    if parity.get("correlation") is not None:
        said.insert(0, f"correlation {parity['correlation']:.5f}, R² {parity['r2']:.5f} on {parity['texts']} texts")
    worst = [f"{name} {each['label_agreement']:.1%} of {each['texts']}" for name, each in _below(parity)]
    if worst:
        said.append(f"by class {', '.join(worst[:SHOWN_CLASSES])}" + (", …" if len(worst) > SHOWN_CLASSES else ""))
    return ", ".join(said) + f"; evidence {parity['evidence']}"


def _below(parity: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """The classes of which a text changed its label, the worst first."""
    classes = parity.get("classes", {})
    return sorted(
        ((name, each) for name, each in classes.items() if each["label_agreement"] < 1),
        key=lambda item: item[1]["label_agreement"],
    )


def print_predictions(predictions: list[dict[str, Any]]) -> None:
    shown = [Prediction.of(each["text"] or "", each) for each in predictions]
    names = [_names(each) for each in shown]
    table = _table(
        "labels" if any(each.labels is not None for each in shown) else "label" if any(names) else "", "score", "text"
    )
    for each, answer, name in zip(predictions, shown, names, strict=True):
        texts = (shortened(each[key]) for key in ("text", "text_pair") if each.get(key))
        table.add_row(escape(name), f"{answer.score:.3f}", escape(" | ".join(texts)))
    _console().print(table)


def _names(answer: Prediction) -> str:
    """Of the class, or of all that a text was given; a number has none."""
    return answer.label or ("" if answer.labels is None else in_words(answer.labels))


_SHOWN = ("samples", "truncated", "label_agreement", "max_abs_diff", "max_diff_over_std", "evidence")


def print_verification(result: dict[str, Any]) -> None:
    table = _table("", "value")
    for name, value in result.items():
        if value is not None and (name in _SHOWN or name.endswith(("_eager", "_device"))):
            table.add_row(name.replace("_", " "), f"{value:.5g}" if isinstance(value, float) else str(value))
    if result["interval"] is not None:
        table.add_row("95% interval", " to ".join(f"{bound:.4f}" for bound in result["interval"]))
    for name, each in _below(result):
        table.add_row(f"of class {escape(name)}", f"{each['label_agreement']:.4f} of {each['texts']}")
    console = _console()
    console.print(
        f"[bold]{escape(result['bundle'])}[/bold] on {escape(result['device'])}", "(emulated)" * result["emulated"]
    )
    console.print(table)
    if result.get("rows") and (odd := oddities(result["rows"])) is not None:
        console.print(odd)
    if "stages" in result:
        print_stages(result)
    if result["hint"]:
        console.print(escape(result["hint"]))
    if not result["passed"] or "stages" in result:
        console.print("The rows whose logits moved most:")
        for row in result["worst"]:
            _print_worst(console, row)
    console.print("[green]passed[/green]" if result["passed"] else "[red]missed its gates[/red]")


def _print_worst(console: Console, row: dict[str, Any]) -> None:
    """One row: how far it moved, what it was and is called, and the quantisations that moved it."""
    before, after = (escape(f"{each:.4g}" if isinstance(each, float) else str(each)) for each in row["labels"])
    called = before if row["labels_agree"] else f"{before}, now {after}"
    console.print(f"  row {row['row']}: {row['max_abs_diff']:.3g}, {called}  {escape(shortened(row['text'] or ''))}")
    parts = {name: moved for name, moved in row.get("stages", {}).items() if name.startswith(_TAKEN_APART)}
    if parts:
        console.print(f"    by {', '.join(f'{name} {moved:.2g}' for name, moved in parts.items())}")


def print_stages(result: dict[str, Any]) -> None:
    """What each stage of the pipeline did to logits, labels, layers and parents."""
    console = _console()
    stages = result["stages"]
    measure = next(name.removesuffix("_cost") for name in stages[0] if name.endswith("_cost"))
    lost_of = "points lost" if measure == "accuracy" else "lost"
    table = Table(box=box.SIMPLE_HEAD)
    for column in ("stage", "same labels", "difference", measure, lost_of):
        table.add_column(column, no_wrap=True)
    for each in stages:
        name = escape(each["stage"])  # which may have the device's in it
        found, lost = each[measure], each[f"{measure}_cost"]
        table.add_row(
            name if each["passed"] else f"[red]{name}[/red]",
            "" if each["label_agreement"] is None else f"{each['label_agreement']:.2%}",
            f"{each['max_abs_diff']:.1e}",
            "" if found is None else f"{found:.4f}",
            "" if lost is None else f"{100 * lost:+.2f}" if measure == "accuracy" else f"{lost:+.4f}",
        )
    console.print(table)
    traced = [each for each in stages if each["layers"]]
    console.print("Of every layer's output: signal over noise in dB, and how many of the chosen parents flipped.")
    table = Table("layer", *(escape(each["stage"]) for each in traced), box=box.SIMPLE_HEAD)
    for number in range(len(traced[0]["layers"]) if traced else 0):
        cells = []
        for each in traced:
            layer = each["layers"][number]
            cells.append(f"{noise_said(layer)} {layer['parents_flipped'] / layer['parents_chosen']:.2%}")
        table.add_row(str(number + 1), *cells)
    console.print(table)
    console.print(f"first stage that moved results too far: {escape(result['first_moved'] or 'none')}")


def _training(known: dict[str, Any] | None) -> dict[str, Any]:
    """The rows about a model's training: its settings, its data by digest, and what it came to."""
    if not known:
        return {}
    results = known.get("results", {})
    told = {
        "trained with": known.get("settings"),
        "versions": known.get("versions"),
        "training data": known.get("data"),
        "encoder": known.get("encoder"),
        "rows": {name: results[name] for name in ("train_rows", "eval_rows") if name in results},
        "kept": results.get("best"),
        "learned": results.get("learned"),
    }
    return {name: value for name, value in told.items() if value not in (None, {})}


def print_inspection(found: dict[str, Any]) -> None:
    console = _console()
    console.print(f"[bold]{escape(found['path'])}[/bold]  {found['kind']}")
    table = _table("", "")
    for name, value in (found | _training(found.get("training"))).items():
        if name in ("kind", "path", "probe", "passes", "training"):
            continue
        if name == "files":
            value = ", ".join(f"{file} {size(entry['bytes'])}" for file, entry in value.items())
        elif isinstance(value, dict):
            value = ", ".join(f"{key} {item}" for key, item in value.items())
        elif isinstance(value, list):
            value = ", ".join(str(item) for item in value)
        table.add_row(escape(name.replace("_", " ")), escape(str(value)))
    console.print(table)
