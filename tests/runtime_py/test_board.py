"""A bundle as a board gets it: `runtime/run.py` and `runtime/spartan`, without torch, here and on an aarch64 system."""

import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

from spartanc.base.targets.catalogue import find_target
from spartanc.runtime_py.build import COMMAND, install_runtime
from spartanc.runtime_py.devices.device import write_rows
from spartanc.runtime_py.setup_target import is_ready
from support.bundles import make_bundle, seal
from support.models import tiny_tokenizer
from support.programs import VOCABULARY
from support.rootfs import CAN_START_PROGRAMS, READY, WHEELS_FOLDER, root_file_system, run_in_root

REPOSITORY = Path(__file__).parents[2]
TEXT = "where is my lost card"
needs_rpi4 = pytest.mark.skipif(not is_ready("rpi4"), reason="`spartanc setup rpi4` was not run")


def board_bundle(folder, program, target):
    bundle = make_bundle(folder, program)
    tokenizer = tiny_tokenizer()
    assert Tokenizer.from_str(tokenizer).get_vocab_size() <= VOCABULARY
    (bundle / "tokenizer.json").write_text(tokenizer)
    install_runtime(find_target(target), bundle)
    return seal(bundle, target=target)


def expected_scores(module):
    ids = Tokenizer.from_str(tiny_tokenizer()).encode(TEXT).ids
    with torch.inference_mode():
        logits = module(torch.tensor([ids]), torch.ones(1, len(ids), dtype=torch.int64))
    return ids, torch.softmax(logits[0].double(), -1).numpy()


@pytest.fixture(scope="module")
def bare_python(tmp_path_factory):
    """A Python with numpy, tokenizers and spartanc's own files; no torch, no executorch."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    install = [python, "-m", "pip", "install", "--quiet", "numpy", "tokenizers"]
    done = subprocess.run(install, capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"pip brought no numpy and tokenizers: {done.stderr[-300:]}")
    where = subprocess.run([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
                           capture_output=True, text=True, check=True)  # fmt: skip
    package = Path(where.stdout.strip()) / "spartanc"
    package.symlink_to(REPOSITORY / "spartanc")
    return python


def run_bare(python, *words):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.run([python, *map(str, words)], capture_output=True, text=True, env=environment)


@pytest.mark.long
def test_run_py_answers_with_numpy_and_tokenizers_only(tiny, tmp_path, bare_python):
    path, module = tiny
    bundle = board_bundle(tmp_path / "bundle", path, "host")
    done = run_bare(bare_python, bundle / "runtime" / "run.py", "--text", TEXT)
    assert done.returncode == 0, done.stderr
    (answer,) = json.loads(done.stdout)
    _, scores = expected_scores(module)
    assert answer["text"] == TEXT
    assert np.abs(np.array(list(answer["scores"].values())) - scores).max() < 1e-5
    assert answer["label"] == ["no", "yes", "maybe"][scores.argmax()]


@pytest.mark.long
def test_run_py_reads_files_and_refuses_altered_bundles(tiny, tmp_path, bare_python):
    bundle = board_bundle(tmp_path / "bundle", tiny[0], "host")
    (tmp_path / "texts.jsonl").write_text(json.dumps({"text": TEXT}) + "\n" + json.dumps({"text": "a film"}) + "\n")
    done = run_bare(bare_python, bundle / "runtime" / "run.py", "--data", tmp_path / "texts.jsonl")
    assert [answer["text"] for answer in json.loads(done.stdout)] == [TEXT, "a film"]
    (bundle / "tokenizer.json").write_text("{}")
    done = run_bare(bare_python, bundle / "runtime" / "run.py", "--text", TEXT)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "tokenizer.json" in done.stderr
    assert done.stdout == ""


def test_run_py_names_what_is_missing(tiny, tmp_path):
    bundle = board_bundle(tmp_path / "bundle", tiny[0], "host")
    done = subprocess.run([sys.executable, "-S", bundle / "runtime" / "run.py", "--text", TEXT],
                          capture_output=True, text=True, env={"PATH": os.environ["PATH"]})  # fmt: skip
    assert done.returncode == 5
    assert "pip install numpy tokenizers" in done.stderr


def test_run_py_asks_what_the_model_takes(tiny, tmp_path):
    """One text or two as the manifest says; files with other columns; escapes for a terminal that needs them."""
    bundle = board_bundle(tmp_path / "bundle", tiny[0], "host")
    environment = {"PATH": os.environ["PATH"], "PYTHONIOENCODING": "ascii"}

    def run(*words):
        command = [sys.executable, bundle / "runtime" / "run.py", *words]
        return subprocess.run(command, capture_output=True, text=True, env=environment)

    seal(bundle, pairs=False)
    done = run("--text", "the card", "--text-pair", "a film")
    assert (done.returncode, done.stdout) == (2, "")
    assert "`--text`: a second text, and the model takes one" in done.stderr
    (tmp_path / "rows.csv").write_text("sentence,text_pair\ncafé where is the card,\n" + "good " * 99 + ",\n")
    done = run("--data", tmp_path / "rows.csv")
    assert done.returncode == 2 and "`--text-column sentence`" in done.stderr
    done = run("--data", tmp_path / "rows.csv", "--text-column", "sentence")
    assert done.returncode == 0 and done.stdout.isascii(), done.stderr
    answers = json.loads(done.stdout)
    assert answers[0]["text"] == "café where is the card"
    assert [answer["truncated"] for answer in answers] == [False, True]
    seal(bundle, pairs=True)
    done = run("--data", tmp_path / "rows.csv", "--text-column", "sentence")
    assert done.returncode == 2 and "rows.csv` line 2: no second text" in done.stderr
    assert run("--text", "the card", "--text-pair", "a film").returncode == 0
    done = run("--text", "the card", "--text-pair", "a film", "--label-separator", ",")
    assert done.returncode == 2 and "`--label-separator`" in done.stderr
    done = run("--data", tmp_path / "rows.csv", "--text-pair", "a film")
    assert done.returncode == 2 and "`--text-pair` goes with `--text`" in done.stderr


@pytest.mark.long
@pytest.mark.qemu
@needs_rpi4
@pytest.mark.skipif(shutil.which("qemu-aarch64-static") is None, reason="qemu-user-static is missing")
def test_the_harness_runs_without_torch(tiny, tmp_path, bare_python):
    bundle = board_bundle(tmp_path / "bundle", tiny[0], "rpi4")
    code = """
import importlib, json, pkgutil, sys
from pathlib import Path
import numpy as np
import spartanc.runtime_py
for module in pkgutil.walk_packages(spartanc.runtime_py.__path__, "spartanc.runtime_py."):
    if not module.name.endswith("board.run"):
        importlib.import_module(module.name)
from spartanc.runtime_py.bench import BenchPlan, bench_bundle
from spartanc.runtime_py.bundle import open_bundle
from spartanc.runtime_py.devices.catalogue import find_device
bundle = open_bundle(sys.argv[1])
ones = np.ones((1, 4), np.int64)
logits = find_device("qemu", "rpi4").run(bundle.path, bundle.program, [(ones, ones)])
plan = BenchPlan(length=4, threads=1, seconds=1.0, loads=1, operators=True)
result = bench_bundle(bundle.path, device="qemu", plan=plan).as_json()
assert not {"torch", "executorch"} & {name.split(".")[0] for name in sys.modules}
print(json.dumps([logits[0].tolist(), result["emulated"], result["operators"], result["skipped_checks"]]))
"""
    done = run_bare(bare_python, "-c", code, bundle)
    assert done.returncode == 0, done.stderr
    logits, emulated, operators, skipped = json.loads(done.stdout)
    with torch.inference_mode():
        expected = tiny[1](torch.ones(1, 4, dtype=torch.int64), torch.ones(1, 4, dtype=torch.int64))[0].numpy()
    assert np.abs(np.array(logits) - expected).max() < 1e-5
    assert emulated
    assert operators is None
    assert "executorch" in skipped[0]


@pytest.mark.long
@pytest.mark.qemu
@needs_rpi4
@pytest.mark.skipif(not READY, reason="needs root, debootstrap and qemu-user-static")
def test_a_bundle_copied_to_a_debian_12_system_for_aarch64_answers(tiny, tmp_path):
    root = root_file_system()
    path, module = tiny
    home = root / "tmp" / tmp_path.name
    shutil.rmtree(home, ignore_errors=True)
    try:
        board_bundle(home / "bundle", path, "rpi4")
        inside = f"/tmp/{tmp_path.name}/bundle"
        ids, scores = expected_scores(module)
        write_rows(home / "ids.safetensors", [(np.array([ids]), np.ones((1, len(ids)), np.int64))])
        command = run_in_root(
            root, "cortex-a72", f"{inside}/runtime/{COMMAND}", "run", inside, "--ids", f"{inside}/../ids.safetensors"
        )
        assert command.returncode == 0, command.stderr
        logits = np.array(json.loads(command.stdout)["logits"])
        assert np.abs(np.exp(logits) / np.exp(logits).sum() - scores).max() < 1e-5

        if not CAN_START_PROGRAMS:
            pytest.skip("run.py tries a program in a process of its own: the kernel has to know qemu (binfmt_misc)")
        python = ["-E", f"PYTHONPATH=/{WHEELS_FOLDER}", "/usr/bin/python3", f"{inside}/runtime/run.py", "--text", TEXT]
        answered = run_in_root(root, "cortex-a72", *python)
        assert answered.returncode == 0, answered.stderr
        (answer,) = json.loads(answered.stdout)
        assert np.abs(np.array(list(answer["scores"].values())) - scores).max() < 1e-5
    finally:
        shutil.rmtree(home, ignore_errors=True)
