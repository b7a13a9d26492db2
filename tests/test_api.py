"""The Python interface: its ten names, what importing it costs, and a whole program in one process."""

import inspect
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import spartanc
from spartanc.compiler.cli import main
from spartanc.runtime_py.bundle import open_bundle
from spartanc.runtime_py.devices.local import LocalDevice
from support.compiled import MAX_LENGTH, TEXTS, eager_of, softmax
from support.fleets import save_tasks, tiny_tasks

ROOT = Path(__file__).parents[1]
NAMES = {"compile", "load", "verify", "bench", "train", "fuse_memories", "SpartancError", "errors", "Prediction",
         "__version__"}  # fmt: skip


def run_script(script, *arguments, **options):
    command = [sys.executable, "-c", script, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stderr
    return done


def test_the_ten_names_are_there_and_are_what_they_say():
    assert set(spartanc.__all__) == NAMES
    assert set(dir(spartanc)) >= NAMES
    for name in ("compile", "load", "verify", "bench", "train", "fuse_memories"):
        assert inspect.isfunction(getattr(spartanc, name)), name
        assert inspect.getdoc(getattr(spartanc, name))
    assert issubclass(spartanc.errors.GateError, spartanc.SpartancError)
    with pytest.raises(AttributeError, match="no attribute `compille`"):
        spartanc.compille  # noqa: B018


def test_the_names_stay_what_they_are_when_the_packages_below_are_imported():
    """`spartanc.compile` is a function and `spartanc.compiler` a package; neither takes the other's place."""
    script = """
import spartanc
import spartanc.compiler, spartanc.models, spartanc.passes, spartanc.runtime_py, spartanc.compiler.cli
from spartanc import *
assert callable(spartanc.compile) and spartanc.compiler.__name__ == "spartanc.compiler"
assert callable(spartanc.train) and callable(spartanc.bench) and callable(load)
from spartanc.passes import fuse_memories as below
assert spartanc.fuse_memories is below
"""
    run_script(script)


def test_importing_spartanc_needs_the_standard_library_only():
    script = """
import json, sys
before = set(sys.modules)
import spartanc
spartanc.SpartancError, spartanc.errors.UsageError, spartanc.__version__, spartanc.Prediction
print(json.dumps(sorted({name.split(".")[0] for name in set(sys.modules) - before})))
"""
    done = subprocess.run([sys.executable, "-S", "-c", script], capture_output=True, text=True,
                          env=os.environ | {"PYTHONPATH": str(ROOT)})  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout)) <= {"spartanc", *sys.stdlib_module_names}


def test_loading_imports_no_torch():
    script = """
import json, sys, spartanc
spartanc.load
foreign = {name.split(".")[0] for name in sys.modules} - set(sys.stdlib_module_names)
print(json.dumps(sorted(foreign)))
"""
    assert not {"torch", "executorch", "transformers", "rich", "click"} & set(json.loads(run_script(script).stdout))


# What a command calls otherwise, or what has a meaning on a command line only.
OTHERWISE = {"models": "model", "format_": "format", "no_runtime": "runtime", "no_samples": "samples", "eval_": "eval"}
COMMAND_LINE_ONLY = {"as_json", "config", "save_config"}  # a script is its own file of options


@pytest.mark.parametrize("name", ["compile", "verify", "bench", "train"])
def test_a_function_takes_what_its_command_takes(name):
    command = {OTHERWISE.get(each.name, each.name) for each in main.commands[name].params} - COMMAND_LINE_ONLY
    parameters = inspect.signature(getattr(spartanc, name)).parameters
    assert command - set(parameters) == set()
    documented = inspect.getdoc(getattr(spartanc, name))
    assert documented is not None
    for each in parameters:
        assert each in documented, f"{name}({each}=) is not described"


PROGRAM = """
import json, sys, threading
import spartanc

folder, texts = sys.argv[1], [tuple(text) if isinstance(text, list) else text for text in json.loads(sys.argv[2])]
answers, wrong, results = {}, [], []
tasks = [f"{folder}/{name}.pt" for name in ("three", "pair", "score")]
for quantize in ("none", "int8"):
    common = {"target": "host", "quantize": quantize, "max_length": 24}
    results.append(spartanc.compile(tasks[0], out=f"{folder}/single-{quantize}", **common))
    results.append(
        spartanc.compile(tasks, out=f"{folder}/fleet-{quantize}", shared_backbone=True, progress=False, **common)
    )
    for result, names in zip(results[-2:], ((None,), ("three", "pair", "score"))):
        with spartanc.load(result.bundle, threads=1, sessions=4) as model:
            alone = {name: model.classify(texts, task=name) for name in names}

            def ask(number):
                name = names[number % len(names)]
                for _ in range(5):
                    if model.classify(texts, task=name) != alone[name]:
                        wrong.append(number)

            threads = [threading.Thread(target=ask, args=(number,)) for number in range(16)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            for name in names:
                answers[f"{result.bundle} {name}"] = [each.as_json() for each in alone[name]]
assert "executorch" in sys.modules
print(json.dumps({"answers": answers, "wrong": wrong, "results": [each.as_json() for each in results]}))
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """(models by task, folder, what the program printed on stdout and on stderr)"""
    folder = tmp_path_factory.mktemp("program")
    models = tiny_tasks("bert")
    save_tasks(models, folder)
    done = run_script(PROGRAM, folder, json.dumps(TEXTS))
    return models, folder, json.loads(done.stdout), done.stderr


def test_compile_and_load_work_in_one_process_for_bundles_and_fleets_in_fp32_and_int8(program):
    models, _, said, _ = program
    assert len(said["answers"]) == 8
    for key, answers in said["answers"].items():
        bundle, _, task = key.rpartition(" ")
        model = models["three" if task == "None" else task]
        close = 1e-4 if bundle.endswith("none") else 0.1
        assert len(answers) == len(TEXTS)
        for text, answer in zip(TEXTS, answers, strict=True):
            logits = eager_of(model, text)
            if model.labels:
                scores = softmax(logits)
                assert np.abs(np.array(list(answer["scores"].values())) - scores).max() < close
                assert answer["label"] in model.labels
            else:
                assert answer["label"] is None
                assert abs(answer["score"] - logits[0]) < close
            assert answer["text"] == (text if isinstance(text, str) else text[0])


def test_sixteen_threads_get_the_answers_of_one(program):
    assert program[2]["wrong"] == []


def test_results_have_the_fields_that_other_programs_rely_on(program):
    for result in program[2]["results"]:
        assert {"bundle", "target", "files", "seconds", "fused_memories", "skipped", "delegated_nodes", "fallback_ops",
                "quantization", "lowering", "truncated", "parity"} <= set(result)  # fmt: skip
        assert result["fused_memories"] == 2


def test_int8_in_this_process_gives_the_bits_of_the_native_command(program):
    models, folder, _, _ = program
    ids = np.random.default_rng(0).integers(4, 40, (6, 9))
    rows = [(row[None], np.ones((1, 9), np.int64)) for row in ids]
    for name, task in (("single-int8", None), ("fleet-int8", "pair")):
        with spartanc.load(folder / name, threads=1) as model:
            got = model.logits(ids, np.ones_like(ids), task=task)
        bundle = open_bundle(folder / name)
        native = np.stack(LocalDevice().run(bundle.path, bundle.program, rows, threads=1, task=task))
        assert np.array_equal(got, native)
        with torch.inference_mode():
            expected = models[task or "three"].module(torch.from_numpy(ids), torch.ones(6, 9, dtype=torch.int64))
        difference = np.abs(got - expected.numpy()).max()
        assert 0 < difference < 0.1 * (np.ptp(expected.numpy()) + 1)


def test_progress_goes_to_stderr_and_only_if_it_is_wanted(program):
    """The program's stdout was its own JSON and nothing else; of four compiles two were silent."""
    assert program[3].count("✓ lower") == 2


def test_a_compile_that_fails_raises_its_error_and_leaves_nothing(tmp_path):
    with pytest.raises(spartanc.errors.MissingToolError, match="no-such-target"):
        spartanc.compile(tmp_path / "absent.pt", target="no-such-target", out=tmp_path / "out")
    with pytest.raises(spartanc.errors.UsageError, match="no model"):
        spartanc.compile([], target="host", out=tmp_path / "out")
    with pytest.raises(spartanc.SpartancError) as caught:
        spartanc.compile(tmp_path / "absent.pt", target="host", out=tmp_path / "out", progress=False)
    assert caught.value.exit_code == 2
    assert list(tmp_path.iterdir()) == []


def test_what_a_compile_changes_of_the_process_it_puts_back(tmp_path):
    import logging
    import warnings

    before = (list(warnings.filters), logging.getLogger().level, dict(os.environ))
    with pytest.raises(spartanc.SpartancError):
        spartanc.compile(tmp_path / "absent.pt", target="host", out=tmp_path / "out", progress=False)
    assert (list(warnings.filters), logging.getLogger().level, dict(os.environ)) == before


def test_verify_and_bench_give_typed_results(program, tmp_path):
    models, folder, _, _ = program
    rows = [{"text": text, "label": models["three"].labels[i % 3]} for i, text in enumerate(TEXTS[:3])]
    (tmp_path / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = spartanc.verify(folder / "single-none", model=folder / "three.pt", data=tmp_path / "test.jsonl")
    assert found.passed
    assert found.samples == 3
    assert found.label_agreement == 1
    assert found.max_abs_diff < 1e-4
    assert found.as_json()["device"] == found.device == "local"
    measured = spartanc.bench(folder / "single-none", length=MAX_LENGTH, threads=1, seconds=0.5, progress=False)
    assert measured.length == MAX_LENGTH
    assert 0 < measured.latency_ms["p50"] <= measured.latency_ms["p95"]
    assert measured.as_json()["runs"] == measured.runs > 0
    for result in (found, measured):
        assert json.loads(json.dumps(result.as_json())) == result.as_json()


def test_the_interface_is_typed():
    """`mypy --strict` takes the public modules and a program that uses them; wrong uses are errors."""
    pytest.importorskip("mypy")
    public = [
        "__init__.py",
        "api.py",
        "errors.py",
        "runtime_py/classifier.py",
        "runtime_py/loading.py",
        "runtime_py/prediction.py",
    ]
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", "--config-file", "pyproject.toml"]
    command += [f"spartanc/{name}" for name in public] + ["tests/typing/api_user.py"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_function_that_is_documented_exists():
    text = (ROOT / "docs" / "python-api.md").read_text()
    for name in NAMES - {"__version__"}:
        assert f"`{name}" in text or f"spartanc.{name}" in text, name
