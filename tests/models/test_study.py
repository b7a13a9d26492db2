"""The study: resumes to the same table, draws fair shots, selects on dev, and times steps in turns."""

import json
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from multiprocessing import Pipe

import pytest
import torch

from spartanc.errors import UsageError
from spartanc.models import study as module
from spartanc.models.memory import SpartanConfig
from spartanc.models.study import Run, StudyPlan, draw_shots, kept_settings, run_one, settings_for, study
from spartanc.models.study_table import means, summarise
from spartanc.runtime_py.data import Example
from support.encoders import sentiment, write_encoder, write_examples

SMALL = SpartanConfig(parents=4, cells=8, top_k=2)
COMMON = {"epochs": 3, "max_length": 64, "batch_size": 8, "precision": "fp32", "arithmetic": "fp32"}


@pytest.fixture
def place(tmp_path):
    encoder = write_encoder(tmp_path / "encoder")
    task = tmp_path / "film"
    task.mkdir()
    for seed, (part, count) in enumerate({"train": 48, "dev": 24, "test": 24}.items()):
        write_examples(task / f"{part}.jsonl", sentiment(count, seed))
    return encoder, task


class Done:
    """Work of this process, which is done when it has begun."""

    def __init__(self, record):
        self.record = record
        self.connection, self.other = Pipe(duplex=False)
        self.other.send("done")

    def result(self):
        return self.record

    def stop(self):
        pass


def in_this_process(plan, run, threads):
    torch.set_num_threads(1)
    return Done(run_one(run, {**plan.common, "data": plan.tasks[run.task]}))


def recorded(plan, run, threads):
    return Done(_record(run, plan.common))


def small_study(place, out, **options):
    return study(StudyPlan(place[0], (place[1],), out, seeds=1, epochs=1, spartan=SMALL, **options)).as_json()


def read(out):
    """The records that are whole."""
    found = []
    for line in (out / "runs.jsonl").read_text().splitlines():
        with suppress(ValueError):
            found.append(json.loads(line))
    return found


@pytest.fixture
def asked(place, tmp_path, monkeypatch):
    """What a study of two methods runs anew, and what it says."""
    ran = []

    def start(plan, run, threads):
        ran.append(run.method)
        return Done(_record(run, plan.common))

    def ask(encoder=place[0], task=place[1], **options):
        ran.clear()
        lines = []
        plan = StudyPlan(encoder, (task,), tmp_path / "out", methods=("spartan", "head"), seeds=1, **options)
        assert study(plan, lines.append).complete
        return list(ran), [line for line in lines if "passed over" in line]

    monkeypatch.setattr(module, "_start", start)
    monkeypatch.setattr(module, "measure_steps", lambda modules, *rest: dict.fromkeys(modules, 1.0))
    return ask


def test_a_run_on_other_rows_is_no_answer(asked, place, tmp_path):
    assert asked() == (["spartan", "head"], [])
    assert asked() == ([], [])
    key = json.loads((tmp_path / "out" / "steps.json").read_text())["key"]
    for part in ("train", "dev", "test"):
        write_examples(place[1] / f"{part}.jsonl", sentiment(30, 9))
        ran, said = asked()
        assert ran == ["spartan", "head"], part
        assert said == [
            f"`{tmp_path / 'out'}`: 2 runs passed over, trained or tested on other rows than `film` has now"
        ]
        assert asked() == ([], [])
    assert json.loads((tmp_path / "out" / "steps.json").read_text())["key"] != key


def test_a_run_on_another_encoder_is_no_answer_and_one_that_moved_is_the_same(asked, place, tmp_path):
    asked()
    key = json.loads((tmp_path / "out" / "steps.json").read_text())["key"]
    (tmp_path / "elsewhere").mkdir()
    shutil.copytree(place[0], tmp_path / "elsewhere" / "encoder")
    shutil.copytree(place[1], tmp_path / "elsewhere" / "film")
    assert asked(tmp_path / "elsewhere" / "encoder", tmp_path / "elsewhere" / "film") == ([], [])
    shutil.rmtree(place[0])
    torch.manual_seed(7)
    write_encoder(place[0], num_hidden_layers=1)
    ran, said = asked()
    assert ran == ["spartan", "head"]
    assert said == [f"`{tmp_path / 'out'}`: 2 runs passed over, trained on another encoder than `{place[0]}` is now"]
    assert json.loads((tmp_path / "out" / "steps.json").read_text())["key"] != key


def test_a_page_that_cannot_be_written_is_said_before_a_run(asked, tmp_path):
    with pytest.raises(UsageError, match="can't be written"):
        asked(page=tmp_path / "none" / "page.html")


def test_why_runs_are_passed_over_is_said(asked, tmp_path):
    asked(epochs=1)
    assert asked(epochs=2)[1] == [f"`{tmp_path / 'out'}`: 2 runs passed over, trained with other settings (epochs)"]
    runs = tmp_path / "out" / "runs.jsonl"
    records = read(tmp_path / "out")[2:]
    runs.write_text("".join(json.dumps({**record, "digests": None}) + "\n" for record in records))
    ran, (said,) = asked(epochs=2)
    assert len(ran) == 2 and "2 runs passed over, made by an earlier version" in said


def test_a_run_after_a_kill_within_a_line_is_not_lost_in_it(asked, tmp_path):
    asked()
    runs = tmp_path / "out" / "runs.jsonl"
    for length in (1, 40, len(runs.read_text().splitlines()[1])):  # the last is whole but for its end
        first, second = runs.read_text().splitlines()[:2]
        runs.write_text(first + "\n" + second[:length])
        ran, said = asked()
        whole = length == len(second)
        assert ran == ([] if whole else ["head"])
        assert [line.partition(": ")[2] for line in said] == (
            [] if whole else ["1 run passed over, cut short, as a kill leaves a line"]
        )
        assert asked()[0] == []
        runs.write_text("".join(json.dumps(record) + "\n" for record in read(tmp_path / "out")))


def test_memories_in_four_bits_are_refused_before_a_run(place, tmp_path):
    with pytest.raises(UsageError, match="do not divide the hidden size 48"):
        small_study((write_encoder(tmp_path / "48", hidden_size=48), place[1]), tmp_path / "out", arithmetic="int4")
    assert not list((tmp_path / "out").iterdir())


def test_study_runs_every_method_and_resumes_to_the_same_table(place, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_start", in_this_process)
    whole = small_study(place, tmp_path / "out", page=tmp_path / "study.html", methods=("spartan", "houlsby", "head"))
    assert whole["complete"]
    assert [row["method"] for row in whole["table"]] == ["spartan", "houlsby", "head"]
    assert all(row["step_seconds"] > 0 for row in whole["table"])
    lines = (tmp_path / "out" / "runs.jsonl").read_text().splitlines()
    # Killed in the middle of its last line:
    (tmp_path / "out" / "runs.jsonl").write_text("\n".join(lines[:2]) + "\n" + lines[2][:40])
    again = small_study(place, tmp_path / "out", methods=("spartan", "houlsby", "head"))
    for row, other in zip(whole["table"], again["table"], strict=True):
        assert (row["test"], row["dev"], row["parameters"]) == (other["test"], other["dev"], other["parameters"])
    assert len(read(tmp_path / "out")) == 3
    content = (tmp_path / "study.html").read_text()
    assert content.count("<circle") == 3
    assert "houlsby" in content


def test_two_workers_end_with_the_table_of_one(place, tmp_path, monkeypatch):
    """Each run in a process of its own, two at a time."""
    under_way = []
    start, finish = module.Worker, module.append_record

    def count(*arguments, **options):
        under_way.append(1)
        return start(*arguments, **options)

    def keep(path, record):
        under_way.append(-1)
        finish(path, record)

    monkeypatch.setattr(module, "Worker", count)
    monkeypatch.setattr(module, "append_record", keep)
    two = small_study(place, tmp_path / "two", methods=("spartan", "head"), workers=2)
    assert under_way[:2] == [1, 1] and sum(under_way) == 0
    monkeypatch.setattr(module, "_start", in_this_process)
    one = small_study(place, tmp_path / "one", methods=("spartan", "head"))
    for row, other in zip(two["table"], one["table"], strict=True):
        assert (row["method"], row["test"], row["dev"]) == (other["method"], other["test"], other["dev"])


@pytest.mark.long
@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_study_goes_on_and_ends_with_the_same_table(place, tmp_path, workers):
    def command(out):
        options = {"--backbone": place[0], "--data": place[1], "--out": out, "--methods": "spartan,pfeiffer"}
        options |= {"--seeds": 2, "--epochs": 1, "--rates": "1,3", "--max-length": 16, "--workers": workers}
        return [
            sys.executable,
            "-m",
            "spartanc",
            "study",
            "--json",
            *(str(word) for pair in options.items() for word in pair),
        ]

    def table(out):
        done = subprocess.run(command(out), capture_output=True, text=True, check=True, timeout=300)
        result = json.loads(done.stdout)
        assert result["complete"]
        measured = ("step_seconds", "seconds_to_best_adapter", "peak_rss_mb")
        return [{name: value for name, value in row.items() if name not in measured} for row in result["table"]]

    runs = tmp_path / "cut" / "runs.jsonl"
    study = subprocess.Popen(command(tmp_path / "cut"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 200
    while not (runs.is_file() and len(runs.read_text().splitlines()) >= 2):
        assert study.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    study.kill()
    study.wait()
    before = runs.read_text().splitlines()
    assert 2 <= len(before) < 6
    resumed = table(tmp_path / "cut")
    assert runs.read_text().splitlines()[: len(before)] == before
    assert len(runs.read_text().splitlines()) == 6
    assert resumed == table(tmp_path / "whole")


@pytest.mark.long
def test_a_run_in_its_own_process_measures_its_memory(place, tmp_path):
    result = small_study(place, tmp_path / "out", methods=("lora",), shots=(8,))
    assert result["table"][0]["peak_rss_mb"] > 50
    record = json.loads((tmp_path / "out" / "runs.jsonl").read_text())
    assert record["train_rows"] == 8
    assert record["settings"]["epochs"] >= 100


def test_processes_share_the_runs(place, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_start", recorded)
    monkeypatch.setattr(module, "_step_times", lambda *arguments: {})
    for rank in (1, 0):
        monkeypatch.setenv("RANK", str(rank))
        monkeypatch.setenv("WORLD_SIZE", "2")
        result = small_study(place, tmp_path / "out")
        assert result["complete"] == (rank == 0)
    counts = [len((tmp_path / "out" / f"runs-{rank}.jsonl").read_text().splitlines()) for rank in (0, 1)]
    assert counts == [3, 3]


def _record(run, common, dev=0.5, test=0.5, history=((1.0, 0.5),)):
    return {
        **{name: value for name, value in common.items() if name != "data"},
        "settings": kept_settings(run, settings_for(run, {**COMMON, **common}, 48, 2)),
        "train_rows": 48,
        "classes": 2,
        "run": {name: getattr(run, name) for name in ("task", "method", "shots", "seed", "factor")},
        "dev": dev,
        "test": test,
        "history": [list(entry) for entry in history],
        "parameters": 10,
        "bytes": 40,
        "peak_rss_mb": 1.0,
    }


def test_factor_is_chosen_on_dev_and_time_is_to_the_best_adapter():
    records = [
        _record(Run("t", "houlsby", None, 0, 1.0), {}, dev=0.8, test=0.1, history=[(1.0, 0.5), (4.0, 0.8)]),
        _record(Run("t", "houlsby", None, 0, 3.0), {}, dev=0.7, test=0.9),
        _record(Run("t", "spartan", None, 0, 1.0), {}, dev=0.9, test=0.6, history=[(2.0, 0.85), (3.0, 0.9)]),
        _record(Run("t", "head", None, 0, 1.0), {}, dev=0.6, test=0.6),
    ]
    rows = {row["method"]: row for row in summarise(records, {"head": 0.5})}
    assert rows["houlsby"]["test"] == 0.1
    assert rows["houlsby"]["factor"] == 1.0
    assert rows["spartan"]["seconds_to_best_adapter"] == 2.0
    assert rows["head"]["seconds_to_best_adapter"] is None
    assert rows["head"]["step_seconds"] == 0.5


def test_rates_are_tried_on_the_first_seed_and_the_best_goes_on(place, tmp_path, monkeypatch):
    best = {0.5: 0.6, 1.0: 0.5, 2.0: 0.4}
    ran = []

    def train(plan, run, threads):
        ran.append((run.seed, run.factor))
        return Done(_record(run, plan.common, dev=best[run.factor]))

    monkeypatch.setattr(module, "_start", train)
    monkeypatch.setattr(module, "_step_times", lambda *arguments: {})
    options = {"methods": ("spartan",), "seeds": 3, "factors": (1.0, 0.5, 2.0), "spartan": SMALL}
    plan = StudyPlan(place[0], (place[1],), tmp_path / "out", **options)
    result = study(plan).as_json()
    assert ran == [(0, 1.0), (0, 0.5), (0, 2.0), (1, 0.5), (2, 0.5)]
    assert result["complete"]
    assert [(row["factor"], row["seeds"]) for row in result["table"]] == [(0.5, 3)]
    ran.clear()
    assert study(plan).table == result["table"]
    assert ran == []
    several = replace(plan, out=tmp_path / "several", workers=4)
    assert study(several).table == result["table"]
    assert ran == [(0, 1.0), (0, 0.5), (0, 2.0), (1, 0.5), (2, 0.5)]  # no other seed before the factor is chosen


def test_means_are_over_tasks_that_all_methods_have():
    records = [
        _record(Run(task, method, None, 0, 1.0), {}, test=test)
        for task, method, test in (("a", "spartan", 0.5), ("a", "head", 0.3), ("b", "spartan", 0.9))
    ]
    assert [(row["method"], row["tasks"], row["test"]) for row in means(summarise(records, {}))] == [
        ("spartan", 1, 0.5),
        ("head", 1, 0.3),
    ]


def test_shots_are_drawn_class_by_class():
    examples = [Example(str(index), None, "abc"[min(2, index // 40)]) for index in range(100)]
    classes = [min(2, index // 40) for index in range(100)]
    drawn = draw_shots(examples, 30, 0, classes)
    assert sorted(row.label for row in drawn) == ["a"] * 10 + ["b"] * 10 + ["c"] * 10
    assert draw_shots(examples, 30, 0, classes) == drawn
    assert draw_shots(examples, 30, 1, classes) != drawn
    assert len(draw_shots(examples, 2, 0, classes)) == 3
    assert draw_shots(examples, None, 0, classes) == examples
    assert len(draw_shots([Example("x", None, "1.5")] * 10, 4, 0, [0] * 10)) == 4


@pytest.mark.parametrize("method", ["spartan", "houlsby", "head"])
def test_few_shots_get_enough_steps_and_factors_scale_all_rates(method):
    one, two = (settings_for(Run("t", method, 32, 0, factor), COMMON, 32, 6) for factor in (1.0, 2.0))
    assert one.epochs * 32 / one.batch_size >= 120
    for name in ("lr", "values_lr", "head_lr", "norm_lr"):
        assert getattr(two, name) == pytest.approx(2 * getattr(one, name)), name
    many = settings_for(Run("t", method, 2000, 0, 1.0), COMMON, 2000, 6)
    assert (many.epochs, many.evaluations) == (3, None)
    row_a_class = settings_for(Run("t", method, 32, 0, 1.0), COMMON, 32, 30)
    assert row_a_class.head_lr == pytest.approx(1e-2)
    more_rows = settings_for(Run("t", method, 100, 0, 1.0), COMMON, 100, 6)
    assert method == "head" or one.head_lr < more_rows.head_lr < row_a_class.head_lr


def test_unknown_method_is_named(place, tmp_path):
    with pytest.raises(UsageError, match="`prompt` is not one of"):
        small_study(place, tmp_path / "out", methods=("prompt",))
