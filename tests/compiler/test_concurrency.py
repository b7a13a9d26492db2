"""Several at once: tasks of a fleet on many threads, writers of one directory, places that can't be written."""

import json
import os
import struct
import subprocess
import sys

import numpy as np
import pytest

from spartanc.errors import UsageError
from spartanc.models.checkpoint import save_model
from spartanc.runtime_py.bundle import open_bundle
from spartanc.runtime_py.task_file import open_task, write_task
from support.artifacts import write_bundle
from support.cli import spartanc_json
from support.fleets import save_tasks, tiny_tasks
from support.models import tiny_model

THREADS = TASKS = 16

# Every thread asks every task in turn, and compares with what the task said when nobody else was asking.
ASKERS = """
import json, sys, threading, time
from pathlib import Path
import numpy as np
from spartanc.runtime_py.fleet import Fleet
fleet_path, folder, seconds = sys.argv[1], Path(sys.argv[2]), float(sys.argv[3])
files = sorted(folder.glob("*.safetensors"))
rows = [(np.arange(2 + i, 7 + 2 * i)[None] % 40, np.ones((1, 5 + i), np.int64)) for i in range(4)]
answers, wrong = [0] * 16, [0] * 16
with Fleet(fleet_path, sessions=4, threads=1) as fleet:
    expected = {file: fleet.logits(rows, file) for file in files}
    distinct = len({expected[file][0].tobytes() for file in files})
    end = time.monotonic() + seconds
    def ask(number):
        turn = number
        while time.monotonic() < end:
            file = files[turn % len(files)]
            if turn % 37 == 0:
                fleet.forget(file)
            got = fleet.logits(rows, file)
            wrong[number] += any(not np.array_equal(a, b) for a, b in zip(got, expected[file], strict=True))
            answers[number] += len(rows)
            turn += 1
    threads = [threading.Thread(target=ask, args=(i,)) for i in range(16)]
    [thread.start() for thread in threads]; [thread.join() for thread in threads]
print(json.dumps({"answers": sum(answers), "idle": answers.count(0), "wrong": sum(wrong), "distinct": distinct}))
"""


def sixteen_tasks(source, folder):
    """Tasks whose logits are those of `source` times a power of two: exact, and all different."""
    data = source.read_bytes()
    (size,) = struct.unpack_from("<Q", data)
    said = json.loads(json.loads(data[8 : 8 + size])["__metadata__"]["task"])
    tensors = open_task(source).tensors
    folder.mkdir()
    for i in range(TASKS):
        factor = (-1.0) ** i * 2.0 ** (i // 2)
        scaled = {name: array * factor if "classifier" in name else array for name, array in tensors.items()}
        scaled = {name: np.asarray(array, tensors[name].dtype) for name, array in scaled.items()}
        probe = said["probe"] | {
            "logits": [[logit * factor for logit in said["probe"]["logits"][0]]],
            "tolerance": said["probe"]["tolerance"] * abs(factor),
        }
        write_task(folder / f"task-{i:02}.safetensors", scaled, said | {"name": f"task-{i:02}", "probe": probe})


@pytest.mark.parametrize("seconds", [3, pytest.param(60, marks=pytest.mark.long)])
def test_sixteen_threads_and_sixteen_tasks_give_no_wrong_answer(tmp_path, seconds):
    paths = save_tasks(tiny_tasks("bert"), tmp_path)
    fleet = tmp_path / "fleet"
    words = ["compile", paths["three"], "--target", "host", "--out", fleet, "--max-length", 16, "--shared-backbone"]
    spartanc_json(*words, "--quantize", "none")
    sixteen_tasks(fleet / "tasks" / "three.safetensors", tmp_path / "tasks")
    command = [sys.executable, "-c", ASKERS, fleet, tmp_path / "tasks", str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    print(result)
    assert result["wrong"] == 0
    assert result["idle"] == 0
    assert result["distinct"] == TASKS
    assert result["answers"] > THREADS * TASKS


WRITER = """
import sys
from pathlib import Path
from spartanc.errors import UsageError
from support.artifacts import write_bundle
print("ready", flush=True)
sys.stdin.readline()
try:
    write_bundle(Path(sys.argv[1]), note=sys.argv[2])
    print("wrote")
except UsageError as error:
    print("refused")
"""


def test_of_two_writers_into_one_directory_one_wins_and_its_bundle_is_whole(tmp_path):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    for attempt in range(3):
        out = tmp_path / f"out-{attempt}"
        writers = [
            subprocess.Popen([sys.executable, "-c", WRITER, out, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             text=True, env=environment)
            for name in ("one", "other")
        ]  # fmt: skip
        for writer in writers:
            assert writer.stdout.readline() == "ready\n"
        for writer in writers:
            writer.stdin.write("\n")
            writer.stdin.flush()
        said = [writer.communicate()[0].strip() for writer in writers]
        assert sorted(said) == ["refused", "wrote"]
        assert open_bundle(out).manifest["note"] == ("one", "other")[said.index("wrote")]
        assert sorted(os.listdir(tmp_path)) == [f"out-{i}" for i in range(attempt + 1)]


@pytest.mark.long
def test_of_two_compiles_into_one_directory_one_wins_and_its_bundle_is_whole(tmp_path):
    save_model(tiny_model(layers=1), tmp_path / "model.pt")
    words = [sys.executable, "-m", "spartanc", "compile", tmp_path / "model.pt", "--target", "host"]
    words += ["--out", tmp_path / "out", "--max-length", "16"]
    both = [subprocess.Popen(list(map(str, words)), stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate()[1] for process in both]
    assert sorted(process.returncode for process in both) == [0, 2], said
    open_bundle(tmp_path / "out")
    assert sorted(os.listdir(tmp_path)) == ["model.pt", "out"]


def test_a_read_only_file_system_is_one_error(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("mounting a read-only disk needs root")
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", disk], capture_output=True, text=True)
    if mounted.returncode != 0:
        pytest.skip(f"nothing can be mounted here: {mounted.stderr.strip()}")
    try:
        with pytest.raises(UsageError, match="no permission"):
            write_bundle(disk / "out")
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_folder_of_somebody_else_is_one_error(tmp_path):
    """Root may write anywhere, so the writer gives its rights up first."""
    folder = tmp_path / "theirs"
    folder.mkdir(mode=0o555)
    code = f"""
import os
from pathlib import Path
from spartanc.compiler.artifact import check_output
from spartanc.errors import UsageError
if os.geteuid() == 0:
    os.setuid(65534)
try:
    check_output(Path({str(folder / "out")!r}))
except UsageError as error:
    print(error.exit_code, error.message)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.startswith("2 "), done.stdout + done.stderr
    assert "no permission" in done.stdout
