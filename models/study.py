"""SPARTAN beside adapters: the same encoder, head, data, Trainer and seeds, one table.

Every run is one process and one line of `runs.jsonl`, with its settings, its numbers and digests of what it read; a
study that was killed goes on with the runs that are missing and ends with the same table. `workers` runs go on at a
time. Studies on several machines share the comparisons among them where RANK and WORLD_SIZE are set, as `accelerate
launch` does, each with a file of its own in one folder. The learning rate is selected for every task, number of shots
and method by the first seed's score on the development split, and the other seeds run with that one; the test split is
read once a run and takes part in no choice.
"""

from __future__ import annotations

import json
import os
import random
import resource
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from spartanc.base.files import write_whole
from spartanc.base.pages import check_page, write_page
from spartanc.base.results import Result
from spartanc.errors import UsageError
from spartanc.models.arithmetic.catalogue import find_arithmetic
from spartanc.models.backbone import build_classifier, load_backbone
from spartanc.models.baselines import METHODS, BaselineClassifier
from spartanc.models.choose_pooling import choose_pooling
from spartanc.models.classifier import SpartanClassifier, read_encoder_config
from spartanc.models.examples import EncodedExamples
from spartanc.models.faster import faster
from spartanc.models.few_shot import are_few, for_few_rows, head_speed, with_enough_steps
from spartanc.models.memory import SpartanConfig
from spartanc.models.objective import TrainingModule, make_optimizer
from spartanc.models.settings import MAX_LENGTH, TrainSettings
from spartanc.models.study_records import Comparison, Run, Sources, append_record, read_records
from spartanc.models.study_table import chosen_of, means, render, summarise
from spartanc.models.study_workers import Worker, Working, spread
from spartanc.models.trainer import evaluate, run_trainer
from spartanc.models.training import start
from spartanc.runtime_py.data import Columns, Example, count_rows, read_examples, require_texts
from spartanc.runtime_py.data.asking import have_pairs
from spartanc.runtime_py.data.counting import oddities
from spartanc.runtime_py.data.reading import data_digest
from spartanc.runtime_py.task_types.classification import CLASSIFICATION
from spartanc.runtime_py.task_types.decision import AUTO, decide_task
from spartanc.runtime_py.task_types.task_type import TaskType
from spartanc.runtime_py.text import TextEncoder

ALL_METHODS = ("spartan", *METHODS)
DEV_ROWS_FEW_SHOT = 200
PARTS = ("train", "dev", "test")
_SUFFIXES = (".jsonl", ".csv", ".tsv", ".jsonl.gz", ".csv.gz", ".tsv.gz", ".parquet", ".arrow", "")
_TRAIN_NORMS = ("spartan", "houlsby", "full")
_OF_MEMORIES = ("values_lr", "load_balance", "parent_scale", "key_scale", "value_std")
# Of a factor of 1, for SPARTAN and adapters alike, so that the same factors mean the same rates. With few rows
# `few_shot.py` has SPARTAN's; adapters keep theirs, with a head that is as slow.
_RATES = {"spartan": 1e-3, "houlsby": 1e-3, "pfeiffer": 1e-3, "lora": 2e-3, "head": 1e-2, "full": 1e-4}


@dataclass(frozen=True)
class StudyPlan:
    """What `spartanc study` is asked for.

    data: directories with the files train, dev and test, .jsonl or of another kind that is read; problem, columns: how
    they are read, as for `train`. out: directory of `runs.jsonl`, kept and added to.
    seeds: how many, from 0 on. shots: numbers of training rows, None for all. factors: on each method's learning rates,
    to select from. page: an HTML report. workers: how many runs at a time, which share the threads.
    """

    backbone: Path
    data: tuple[Path, ...]
    out: Path
    methods: tuple[str, ...] = ("spartan", "houlsby", "pfeiffer", "lora", "head", "full")
    seeds: int = 3
    shots: tuple[int | None, ...] = (None,)
    factors: tuple[float, ...] = (1.0,)
    epochs: float = 3
    max_length: int = MAX_LENGTH
    layers: int | None = None
    batch_size: int | None = None
    precision: str = "fp32"
    arithmetic: str = "fp32"
    pooling: str = "auto"
    problem: str = AUTO
    columns: Columns = field(default_factory=Columns)
    spartan: SpartanConfig = field(default_factory=SpartanConfig)
    page: Path | None = None
    workers: int = 1

    def __post_init__(self):
        if self.workers < 1:
            raise UsageError(f"a study needs a worker at least, got `{self.workers}`")
        if len(self.tasks) != len(self.data):
            raise UsageError("two data directories have the same name")
        for method in self.methods:
            if method not in ALL_METHODS:
                raise UsageError(f"method `{method}` is not one of {', '.join(ALL_METHODS)}")

    @property
    def tasks(self) -> dict[str, str]:
        """{name: directory}"""
        return {directory.name: str(directory) for directory in self.data}

    @property
    def common(self) -> dict[str, Any]:
        """What all runs have in common, as a record keeps it."""
        return {
            "backbone": str(self.backbone),
            "layers": self.layers,
            "epochs": self.epochs,
            "max_length": self.max_length,
            "batch_size": self.batch_size or TrainSettings().batch_size,
            "precision": self.precision,
            "arithmetic": self.arithmetic,
            "pooling": self.pooling,
            "problem": self.problem,
            "columns": {name: value for name, value in asdict(self.columns).items() if name != "separator" or value},
            "spartan": asdict(self.spartan),
        }

    @property
    def comparisons(self) -> list[Comparison]:
        """(task, method, shots), in the order of the table."""
        return [(task, method, count) for task in self.tasks for count in self.shots for method in self.methods]


@dataclass(frozen=True)
class StudyResult(Result):
    """complete: whether every run is done; runs: how many are. table, means: rows as `study_table` makes them."""

    out: str
    complete: bool
    runs: int
    table: list[dict[str, Any]]
    means: list[dict[str, Any]]


def study(plan: StudyPlan, report: Callable[[str], None] | None = None) -> StudyResult:
    """Train every method on every task and compare; runs that `plan.out` holds already are not done again."""
    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    if plan.page is not None and rank == 0:
        check_page(plan.page)
    say = report or (lambda line: None)
    _prepare(plan.out)
    if rank == 0:
        for directory in plan.tasks.values():
            _say_rows(directory, plan.common, say)
    sources = _sources_of(plan)
    found = read_records(plan.out, plan.comparisons, plan.common, sources, partial(_kept_now, plan.common))
    if rank == 0:
        for why, count in found.passed_over.items():
            say(f"`{plan.out}`: {count} {'run' if count == 1 else 'runs'} passed over, {why}")
    records = found.records
    runs_file = plan.out / ("runs.jsonl" if world == 1 else f"runs-{rank}.jsonl")
    _do_runs(plan, plan.comparisons[rank::world], records, sources, runs_file, say)
    done = _records_of(plan, records)
    complete = _is_complete(done, plan.comparisons, plan.seeds, plan.factors)
    steps = _step_times(plan, sources) if rank == 0 and complete else {}
    table = summarise(done, steps)
    result = StudyResult(str(plan.out), complete, len(done), table, means(table))
    if plan.page is not None and rank == 0:
        write_page(plan.page, render(result.as_json(), done))
    return result


def _prepare(out: Path) -> None:
    """A directory to add runs to; what holds something else is left alone."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        held = sorted(path.name for path in out.iterdir())
    except OSError as error:
        raise UsageError(f"cannot write `{out}`: {error.strerror}") from error
    if held and not any(name.startswith("runs") and name.endswith(".jsonl") for name in held):
        raise UsageError(f"`{out}` holds `{held[0]}` and no runs of a study", hint="give a new or an empty directory")


def _sources_of(plan: StudyPlan) -> Sources:
    """What the plan's runs read. Raises UsageError where that can't be read, or memories have no such arithmetic."""
    backbone = load_backbone(plan.backbone, plan.layers)
    if "spartan" in plan.methods:
        find_arithmetic(plan.arithmetic).check_memories(read_encoder_config(backbone.config).hidden_size)
    pooling = choose_pooling(backbone, plan.pooling).pooling  # files beside the weights may say which
    data = {
        task: {name: data_digest(part_file(directory, name)) for name in PARTS}
        for task, directory in plan.tasks.items()
    }
    return Sources({**backbone.digests(), "pooling": pooling}, data)


def _kept_now(common: dict[str, Any], run: Run, rows: int, classes: int) -> dict[str, Any]:
    return kept_settings(run, settings_for(run, common, rows, classes))


def _do_runs(
    plan: StudyPlan,
    comparisons: Sequence[Comparison],
    records: dict[Run, dict[str, Any]],
    sources: Sources,
    runs_file: Path,
    say: Callable[[str], None],
) -> None:
    """Every run of `comparisons` that `records` lacks, added to it and to the file."""

    def open_runs() -> Iterator[Run]:
        for name in comparisons:
            yield from _open_runs(plan, name, records)

    def keep(run: Run, record: dict[str, Any]) -> None:
        record = {**record, "digests": sources.of(run.task)}
        append_record(runs_file, record)
        records[run] = record
        say(f"{_title(run)}: dev {record['dev']:.4f}, test {record['test']:.4f}")

    threads = max(1, torch.get_num_threads() // plan.workers)
    spread(open_runs, lambda run: _start(plan, run, threads), keep, _title, plan.workers)


def _open_runs(plan: StudyPlan, comparison: Comparison, records: dict[Run, dict[str, Any]]) -> list[Run]:
    """Runs of a comparison that can start: the first seed with every factor, then the others with the best one."""
    first = [Run(*comparison, 0, factor) for factor in plan.factors]
    missing = [run for run in first if run not in records]
    if missing:
        return missing
    factor = max(first, key=lambda run: records[run]["dev"]).factor
    others = [Run(*comparison, seed, factor) for seed in range(1, plan.seeds)]
    return [run for run in others if run not in records]


def _start(plan: StudyPlan, run: Run, threads: int) -> Working:
    return Worker(run_one, run, {**plan.common, "data": plan.tasks[run.task]}, threads=threads)


def _records_of(plan: StudyPlan, records: dict[Run, dict[str, Any]]) -> list[dict[str, Any]]:
    """The records that the plan asks for, in the order of the table."""
    order = {name: index for index, name in enumerate(plan.comparisons)}
    done = [
        record
        for run, record in records.items()
        if run.comparison in order and run.seed < plan.seeds and run.factor in plan.factors
    ]
    return sorted(done, key=lambda record: (order[_comparison(record)], record["run"]["seed"], record["run"]["factor"]))


def _comparison(record: dict[str, Any]) -> Comparison:
    run = record["run"]
    return run["task"], run["method"], run["shots"]


def _title(run: Run) -> str:
    rows = "" if run.shots is None else f" {run.shots} rows"
    rate = "" if run.factor == 1.0 else f" rates x {run.factor:g}"
    return f"{run.task} {run.method}{rows} seed {run.seed}{rate}"


def _is_complete(
    records: Sequence[dict[str, Any]],
    comparisons: Sequence[Comparison],
    seeds: int,
    factors: Sequence[float],
) -> bool:
    """Whether every comparison has its first seed with every factor, and the others with the chosen one."""
    groups: dict[tuple, list[dict[str, Any]]] = defaultdict(list)
    for record in records:
        groups[_comparison(record)].append(record)
    for name in comparisons:
        group = groups[name]
        first = {record["run"]["factor"] for record in group if record["run"]["seed"] == 0}
        if first != set(factors) or len(chosen_of(group)) != seeds:
            return False
    return True


def part_file(directory: str | Path, name: str) -> Path:
    """The file of one of `PARTS` in a task's directory; UsageError where there is none."""
    files = [Path(directory) / f"{name}{suffix}" for suffix in _SUFFIXES]
    for file in files:
        if file.exists():
            return file
    raise UsageError(
        f"cannot read data file `{files[0]}`: No such file or directory",
        hint=f"a task's directory holds {', '.join(PARTS)}, each as a file that is read",
    )


def _say_rows(directory: str, common: dict[str, Any], say: Callable[[str], None]) -> None:
    """What the labels of a task were taken for, and which of its rows are odd."""
    columns = Columns(**common["columns"])
    for name in PARTS:
        file = part_file(directory, name)
        examples = read_examples(file, columns)
        if name == "train":
            say(f"{Path(directory).name}: {decide_task(examples, file, common['problem']).why}")
        if (odd := oddities(count_rows(examples))) is not None:
            say(f"{file}: {odd}")


def draw_shots(
    examples: list[Example], shots: int | None, seed: int, classes_N: Sequence[int] | np.ndarray
) -> list[Example]:
    """`shots` rows in all, drawn class by class in turn, so that every class has one at least.

    classes_N: of every example.
    """
    if shots is None or shots >= len(examples):
        return examples
    rows = list(zip(examples, classes_N, strict=True))
    random.Random(seed).shuffle(rows)
    by_class: dict[int, list[Example]] = defaultdict(list)
    for row, index in rows:
        by_class[int(index)].append(row)
    classes = [by_class[index] for index in sorted(by_class)]
    drawn: list[Example] = []
    for turn in range(max(len(members) for members in classes)):
        drawn += [members[turn] for members in classes if turn < len(members)]
        if len(drawn) >= shots:
            break
    return drawn[: max(shots, len(classes))]


def classes_of(
    task_type: TaskType, examples: Sequence[Example], labels: Sequence[str], source: Path
) -> Sequence[int] | np.ndarray:
    """What to draw examples by: their class, of several the rarest; numbers are of one class."""
    return task_type.strata(examples, labels, source).indices if task_type.has_classes else [0] * len(examples)


def build(run: Run, common: dict[str, Any], outputs: int, pairs: bool) -> tuple[SpartanClassifier, str]:
    """The method's classifier, untrained, and the tokenizer's text."""
    backbone = load_backbone(common["backbone"], common["layers"])
    torch.manual_seed(run.seed)
    config = SpartanConfig(**common["spartan"]) if run.method == "spartan" else None
    pooling = choose_pooling(backbone, common["pooling"]).pooling
    classifier = build_classifier(backbone, config, outputs, pairs, pooling)
    if run.method == "spartan":
        return classifier, backbone.tokenizer
    return BaselineClassifier(classifier, run.method), backbone.tokenizer


def settings_for(run: Run, common: dict[str, Any], rows: int, classes: int) -> TrainSettings:
    """How `run` is trained on `rows` rows of `classes` classes (0 for regression)."""
    shared = {name: common[name] for name in ("epochs", "max_length", "batch_size", "precision", "arithmetic")}
    many = TrainSettings(seed=run.seed, **shared)
    few = run.shots is not None and are_few(rows, many)
    if run.method == "spartan" and few:
        return for_few_rows(many.scaled(run.factor), rows, classes)
    rate, head = _RATES[run.method] * run.factor, (1e-3 if run.method == "full" else 1e-2) * run.factor
    norm = rate if run.method == "full" else rate * many.norm_lr / many.lr
    if few and run.method not in ("head", "full"):
        head = norm * head_speed(rows, classes)
    settings = replace(many, lr=rate, values_lr=rate, norm_lr=norm, head_lr=head)
    return with_enough_steps(settings, rows) if few else settings


def kept_settings(run: Run, settings: TrainSettings) -> dict[str, Any]:
    """What a record says of the settings: only what the method makes use of."""
    unused = set() if run.method == "spartan" else set(_OF_MEMORIES)
    if run.method not in _TRAIN_NORMS:
        unused.add("norm_lr")
    return {name: value for name, value in asdict(settings).items() if name not in unused}


def run_one(run: Run, common: dict[str, Any]) -> dict[str, Any]:
    """Train and test one run, in this process."""
    files = {name: part_file(common["data"], name) for name in PARTS}
    parts = {name: read_examples(path, Columns(**common["columns"])) for name, path in files.items()}
    decision = decide_task(parts["train"], files["train"], common["problem"])
    task_type, labels = decision.task_type, decision.labels
    pairs = have_pairs(parts["train"], files["train"])
    for name in ("dev", "test"):
        require_texts(parts[name], pairs, files[name], allow_empty=True)
    classes = {name: classes_of(task_type, parts[name], labels, files[name]) for name in ("train", "dev")}
    parts["train"] = draw_shots(parts["train"], run.shots, run.seed, classes["train"])
    settings = settings_for(run, common, len(parts["train"]), len(labels))
    if settings.evaluations is not None:
        parts["dev"] = draw_shots(parts["dev"], DEV_ROWS_FEW_SHOT, 0, classes["dev"])
    classifier, tokenizer = build(run, common, task_type.outputs(labels), pairs)
    encoder = TextEncoder(tokenizer, min(common["max_length"], classifier.max_length()))
    rows = {}
    for name, examples in parts.items():
        targets = task_type.targets(examples, labels, files[name])
        rows[name] = EncodedExamples(examples, targets, encoder, files[name])
    started = time.perf_counter()
    start(classifier, rows["train"], settings)
    module = TrainingModule(classifier, task_type, settings.load_balance, settings.dropout)
    with tempfile.TemporaryDirectory() as work:
        result = run_trainer(module, settings, rows["train"], rows["dev"], Path(work), {}, lambda line: None)
    task_type = task_type.fitted(result.logits, result.targets)
    task = set(classifier.task_names())
    trained = sum(value.numel() for name, value in classifier.named_parameters() if name in task)
    return {
        **{name: value for name, value in common.items() if name != "data"},
        "run": asdict(run),
        "settings": kept_settings(run, settings),
        "train_rows": len(rows["train"]),
        "classes": len(labels),
        "dev": result.best[task_type.metric],
        "test": evaluate(classifier, task_type, rows["test"], settings.precision),
        **_test_as_trained(classifier, task_type, rows["test"], settings),
        "history": [[entry["seconds"], entry[task_type.metric]] for entry in result.history],
        "parameters": trained,
        "bytes": 4 * trained,
        "seconds": time.perf_counter() - started,
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def _test_as_trained(
    classifier: SpartanClassifier, task_type: TaskType, rows: EncodedExamples, settings: TrainSettings
) -> dict[str, float]:
    """The test's measure in the arithmetic that was trained in, where that rounds; `test` itself is fp32's."""
    if settings.arithmetic == "fp32":
        return {}
    return {"test_as_trained": evaluate(classifier, task_type, rows, settings.precision, settings.arithmetic)}


def measure_steps(
    modules: dict[str, TrainingModule],
    batch: dict[str, torch.Tensor],
    precision: str = "fp32",
    arithmetic: str = "fp32",
    rounds: int = 12,
) -> dict[str, float]:
    """Median seconds of a training step of each module, measured in turns so that all see the same machine."""
    optimizers = {name: make_optimizer(module, TrainSettings()) for name, module in modules.items()}
    times: dict[str, list[float]] = defaultdict(list)
    with ExitStack() as stack:
        for module in modules.values():
            stack.enter_context(faster(module.classifier, precision, arithmetic))
        for turn in range(rounds + 2):
            for name, module in modules.items():
                module.train()
                started = time.perf_counter()
                module(**batch)["loss"].backward()
                optimizers[name].step()
                optimizers[name].zero_grad()
                if turn >= 2:  # the first ones allocate
                    times[name].append(time.perf_counter() - started)
    return {name: statistics.median(values) for name, values in times.items()}


def _step_times(plan: StudyPlan, sources: Sources) -> dict[str, float]:
    """Seconds of a step on 16 rows of the first task, kept beside the runs so that a resumed study shows the same."""
    path, common = plan.out / "steps.json", plan.common
    read = {"encoder": sources.encoder, "rows": sources.data[plan.data[0].name]["train"]}
    key = json.dumps([common, list(plan.methods), read], sort_keys=True)
    if path.is_file():
        kept = json.loads(path.read_text())
        if kept["key"] == key:
            return kept["seconds"]
    file = part_file(plan.data[0], "train")
    examples = read_examples(file, Columns(**common["columns"]))
    labels = decide_task(examples, file, common["problem"]).labels
    modules, rows = {}, None
    for method in plan.methods:
        classifier, tokenizer = build(Run("", method, None, 0, 1.0), common, max(1, len(labels)), False)
        encoder = TextEncoder(tokenizer, min(common["max_length"], classifier.max_length()))
        rows = rows or EncodedExamples(examples[:16], [0] * len(examples[:16]), encoder)
        modules[method] = TrainingModule(classifier, CLASSIFICATION, TrainSettings().load_balance, False)
    assert rows is not None
    batch = next(rows.batches(0))
    seconds = measure_steps(modules, batch, common["precision"], common["arithmetic"])
    write_whole(path, json.dumps({"key": key, "seconds": seconds}))
    return seconds
