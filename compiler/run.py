"""`spartanc run`: texts, rows or ids through a bundle, on any device. Needs no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from spartanc.compiler.samples import Row, encode_examples, read_ids
from spartanc.errors import UsageError
from spartanc.runtime_py.answer import answer
from spartanc.runtime_py.bundle import Bundle, open_bundle
from spartanc.runtime_py.data import Example, read_examples
from spartanc.runtime_py.devices.catalogue import find_device
from spartanc.runtime_py.devices.device import Device
from spartanc.runtime_py.task_file import TaskFile, find_task


def run_bundle(
    path: Path,
    *,
    text: str | None = None,
    text_pair: str | None = None,
    data: Path | None = None,
    ids: Path | None = None,
    task: str | None = None,
    device: str = "local",
    threads: int | None = None,
    require_signature: Path | None = None,
) -> list[dict[str, Any]]:
    """One prediction a row: text, label and scores of a classifier; text and score of a regression."""
    bundle = open_bundle(path, require_signature=require_signature)
    chosen = choose_task(bundle, task)
    if chosen is not None:
        bundle = bundle.for_task(chosen.problem, chosen.labels)
    if ids is not None:
        rows, texts = read_ids(ids), None
    else:
        examples = [Example(text or "", text_pair)] if data is None else read_examples(data)
        rows, texts = rows_of(bundle, examples), [example.text for example in examples]
    logits = device_for(bundle, device).run(
        bundle.path, bundle.program, rows, threads=threads, task=name_or_path(bundle, task)
    )
    return [{"text": texts[i] if texts else None} | answer(bundle, each) for i, each in enumerate(logits)]


def choose_task(bundle: Bundle, task: str | None) -> TaskFile | None:
    """The task called or at `task`, checked against the bundle but for its probe; None where a bundle is one task's.

    Raises UsageError where the bundle has one task, or several and none was named.
    """
    if not bundle.is_fleet:
        if task is not None:
            raise UsageError(
                f"`{bundle.path}` holds one task, so `--task` has nothing to choose",
                hint="`spartanc compile --shared-backbone` makes a bundle of several tasks",
            )
        return None
    if task is None:
        names = ", ".join(bundle.manifest["fleet"]["tasks"]) or "none"
        raise UsageError(f"`{bundle.path}` holds several tasks: {names}", hint="name one with `--task`")
    return find_task(bundle, task)


def name_or_path(bundle: Bundle, task: str | None) -> str | Path | None:
    """As devices take it: a name where the bundle has such a task, else the path of a file."""
    return Path(task) if task is not None and task not in bundle.manifest["fleet"]["tasks"] else task


def rows_of(bundle: Bundle, examples: list[Example]) -> list[Row]:
    tokenizer = bundle.tokenizer
    if tokenizer is None:
        raise UsageError(
            f"bundle `{bundle.path}` came from a model without a tokenizer, so it takes no text",
            hint="give token ids with `--ids FILE.safetensors`",
        )
    return encode_examples(examples, tokenizer, bundle.max_length).rows


def device_for(bundle: Bundle, name: str) -> Device:
    """The device called `name` for `bundle`; a TorchScript program runs on this machine, with stock torch."""
    if bundle.manifest.get("program_format") != "torchscript":
        return find_device(name, bundle.target)
    if name != "local":
        raise UsageError(f"`{bundle.path}` holds TorchScript, which runs on device `local` alone, not on `{name}`")
    from spartanc.runtime_py.devices.stock import StockDevice

    return StockDevice()
