"""One verdict by three readers: Python, the native command and Java agree on every bundle and task file of the corpus.

tests/golden/bundles/make.py says what the cases are; docs/formats says why.
"""

import filecmp
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from spartanc.base.targets.catalogue import find_target
from spartanc.base.toolchain import AARCH64
from spartanc.errors import UsageError
from spartanc.runtime_py.build import COMMAND, build_runtime
from spartanc.runtime_py.bundle import open_bundle
from spartanc.runtime_py.setup_target import is_ready
from spartanc.runtime_py.task_file import find_task

ROOT = Path(__file__).parents[2]
CORPUS = ROOT / "tests" / "golden" / "bundles"
FLEET = CORPUS / "accept" / "fleet" / "bundle"
CASES = sorted(path for verdict in ("accept", "refuse") for path in (CORPUS / verdict).iterdir())
names = pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.parent.name}/{case.name}")


# On an emulated board, where each takes seconds: a few for every part of the readers.
ON_A_BOARD = (
    "classification",
    "fleet",
    "task-classification",
    "problem-unknown",
    "json-lone-surrogate",
    "file-altered",
    "probe-logit-infinite",
    "task-digest-upper-case",
    "task-layout-other",
    "task-tensor-infinite",
)


def files_of(case: Path) -> list[Path]:
    """The bundle, or the fleet and the task's file."""
    return [case / "bundle"] if (case / "bundle").is_dir() else [FLEET, case / "task.safetensors"]


def by_python(case: Path) -> str | None:
    """The message of the refusal; None if the case is taken."""
    bundle, *task = files_of(case)
    try:
        opened = open_bundle(bundle)
        for path in task:
            find_task(opened, path)
    except UsageError as error:
        return error.message
    return None


def by_native(case: Path, *command: str | Path) -> str | None:
    bundle, *task = files_of(case)
    words = [*command, "check", bundle, *(word for path in task for word in ("--task", path))]
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True)
    assert done.returncode in (0, 2), done
    assert (done.stdout == "") == (done.returncode == 2)
    return None if done.returncode == 0 else done.stderr


@pytest.fixture(scope="module")
def by_java(tmp_path_factory):
    """{case: message, or None}, of one JVM for all."""
    if shutil.which("javac") is None:
        pytest.skip("no javac here (Debian: default-jdk-headless)")
    sys.path.insert(0, str(ROOT / "android_demo" / "checks"))
    import jvm

    core = jvm.compile_core(tmp_path_factory.mktemp("core"))
    driver = jvm.compile_against([jvm.DRIVERS / "Open.java"], [core], tmp_path_factory.mktemp("driver"))
    lines = "".join("\t".join(map(str, files_of(case))) + "\n" for case in CASES)
    answers = jvm.java([core, driver], "Open", input=lines).splitlines()
    assert len(answers) == len(CASES)
    return {case: None if answer == "taken" else answer for case, answer in zip(CASES, answers, strict=True)}


def require_verdict(case: Path, message: str | None) -> None:
    reason = (case / "reason.txt").read_text(encoding="utf-8").strip()
    if case.parent.name == "accept":
        assert message is None, f"{reason}: {message}"
    else:
        word, _, why = reason.partition(": ")
        assert message is not None, f"was taken, although: {why}"
        assert word in message, f"the message should name {word}: {message}"


@names
def test_python(case):
    require_verdict(case, by_python(case))


@names
def test_native(case):
    require_verdict(case, by_native(case, build_runtime("host") / COMMAND))


@names
def test_java(case, by_java):
    require_verdict(case, by_java[case])


@pytest.mark.qemu
@pytest.mark.skipif(not is_ready("rpi4"), reason="`spartanc setup rpi4` was not run")
@pytest.mark.parametrize("name", ON_A_BOARD)
def test_native_on_an_emulated_board(name):
    (case,) = (path for path in CASES if path.name == name)
    board = find_target("rpi4")
    command = [AARCH64.qemu.name, "-cpu", str(board.qemu_cpu), "-L", AARCH64.sysroot, build_runtime(board) / COMMAND]
    require_verdict(case, by_native(case, *command))


def test_the_corpus_is_what_its_script_writes(tmp_path):
    """Byte for byte, and small."""
    sys.path.insert(0, str(CORPUS))
    import make

    make.write_corpus(tmp_path)
    written = {path.relative_to(tmp_path) for path in tmp_path.rglob("*") if not path.is_dir() or path.is_symlink()}
    kept = {
        path.relative_to(CORPUS)
        for verdict in ("accept", "refuse")
        for path in (CORPUS / verdict).rglob("*")
        if not path.is_dir() or path.is_symlink()
    }
    assert written == kept
    for name in written:
        if (CORPUS / name).is_symlink():
            assert os.readlink(CORPUS / name) == os.readlink(tmp_path / name)
        else:
            assert filecmp.cmp(CORPUS / name, tmp_path / name, shallow=False), name
    assert sum((CORPUS / name).lstat().st_size for name in kept) < 1 << 20


def test_the_corpus_is_large_enough():
    counts = {verdict: len(list((CORPUS / verdict).iterdir())) for verdict in ("accept", "refuse")}
    assert counts["accept"] >= 10
    assert counts["refuse"] >= 40
