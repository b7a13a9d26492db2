"""Work in processes of its own: results, errors and kills come back, and nothing outlives whoever started it."""

import os
import signal
import subprocess
import sys
import time

import pytest

from spartanc.errors import CompileError, UsageError
from spartanc.models.study_workers import Worker, spread


def work(task):
    """In a process of its own."""
    if task == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if task == "wrong":
        raise UsageError("no such file")
    if task == "slow":
        time.sleep(60)
    return os.getpid(), os.environ.get("RANK")


def do(tasks, workers, monkeypatch):
    monkeypatch.setenv("RANK", "3")
    done, started = {}, []

    def start(task):
        started.append(task)
        return Worker(work, task, threads=1)

    try:
        spread(lambda: [task for task in tasks if task not in done], start, done.__setitem__, str, workers)
    except (CompileError, UsageError) as error:
        return done, started, error
    return done, started, None


def test_every_task_has_a_process_of_its_own(monkeypatch):
    done, started, error = do(["a", "b", "c"], 2, monkeypatch)
    assert error is None and started == ["a", "b", "c"]
    processes = {process for process, _ in done.values()}
    assert len(processes) == 3 and os.getpid() not in processes
    assert {rank for _, rank in done.values()} == {None}  # a training there is a whole one


def test_the_others_are_done_where_one_was_killed(monkeypatch):
    done, started, error = do(["a", "killed", "b"], 1, monkeypatch)
    assert set(done) == {"a", "b"} and started == ["a", "killed", "b"]
    assert isinstance(error, CompileError) and "`killed` by signal 9" in str(error)
    assert "fewer --workers" in str(error)


def test_an_error_ends_what_is_under_way(monkeypatch):
    started_at = time.monotonic()
    done, started, error = do(["slow", "wrong", "a"], 2, monkeypatch)
    assert isinstance(error, UsageError) and "no such file" in str(error)
    assert started == ["slow", "wrong"] and done == {}
    assert time.monotonic() - started_at < 50


def test_work_ends_with_the_process_that_started_it():
    script = (
        "import time\n"
        "from spartanc.models.study_workers import Worker\n"
        "if __name__ == '__main__':\n"
        "    print(Worker(time.sleep, 100, threads=1).process.pid, flush=True)\n"
        "    time.sleep(100)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        worker = int(parent.stdout.readline())
        time.sleep(1)
        os.kill(worker, 0)
        parent.kill()
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            os.kill(worker, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    pytest.fail("the worker is still there")
