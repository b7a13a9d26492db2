"""Work in processes of its own, several at a time; what a killed process had under way is named at the end."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol, TypeVar

import torch

from spartanc.base.quiet import hush
from spartanc.errors import CompileError

Task = TypeVar("Task")


class Killed(Exception):
    """A process that ended without a result; the text says how."""


class Working(Protocol):
    """Work under way. connection: has something to read once `result` returns at once."""

    connection: Connection

    def result(self) -> Any: ...

    def stop(self) -> None: ...


class Worker:
    """`work(*arguments)` in a process of its own: its peak memory is its own, and it leaves nothing to the next one.

    It is forked from a server that has imported what runs need, which takes longer than a few-shot run trains, and ends
    with the process that started it, however that ends.
    """

    def __init__(self, work: Callable[..., Any], *arguments: Any, threads: int):
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["spartanc.models.preload"])
        self.connection, send = context.Pipe(duplex=False)
        self.process = context.Process(target=_work, args=(send, work, arguments, threads))
        self.process.start()
        send.close()

    def result(self) -> Any:
        """What `work` returned; raises what it raised, or Killed."""
        try:
            result, error = self.connection.recv()
        except EOFError:
            self.process.join()
            code = self.process.exitcode or 0
            raise Killed(f"signal {-code}" if code < 0 else f"status {code}") from None
        finally:
            self.connection.close()
        self.process.join()
        if error is not None:
            raise error
        return result

    def stop(self) -> None:
        self.process.terminate()
        self.process.join()


def _work(connection: Connection, work: Callable[..., Any], arguments: tuple, threads: int) -> None:
    hush()
    _end_with_parent()
    # The Trainer must not take the study's processes for its own.
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        os.environ.pop(name, None)
    torch.set_num_threads(threads)
    try:
        connection.send((work(*arguments), None))
    except Exception as error:
        connection.send((None, error))
    finally:
        connection.close()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def spread(
    open_tasks: Callable[[], Iterable[Task]],
    start: Callable[[Task], Working],
    finish: Callable[[Task, Any], None],
    title: Callable[[Task], str],
    workers: int,
) -> None:
    """Do all tasks, up to `workers` at a time, in the order that `open_tasks` gives.

    open_tasks: those that can be started now and are not done; it is asked again after every result, since what is done
    may open others. A task whose process was killed is left open, and the others are done all the same.

    Raises CompileError at the end if any was killed, and at once what a task raised; work under way is stopped then.
    """
    under_way: dict[Connection, tuple[Task, Working]] = {}
    killed: dict[Task, str] = {}
    try:
        while True:
            busy = [task for task, _ in under_way.values()]
            for task in open_tasks():
                if len(under_way) < workers and task not in busy and task not in killed:
                    worker = start(task)
                    under_way[worker.connection] = task, worker
            if not under_way:
                break
            for ready in wait(list(under_way)):
                assert isinstance(ready, Connection)
                task, worker = under_way.pop(ready)
                try:
                    finish(task, worker.result())
                except Killed as how:
                    killed[task] = str(how)
    finally:
        for _, worker in under_way.values():
            worker.stop()
    if killed:
        ends = "; ".join(f"`{title(task)}` by {how}" for task, how in killed.items())
        raise CompileError(
            f"processes were ended before they were done: {ends}",
            hint="the same command goes on with what is missing; fewer --workers take less memory",
        )
