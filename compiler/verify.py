"""`spartanc verify`: a bundle on a device against eager PyTorch here, on labelled rows or recorded logits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from spartanc.compiler.proof import DEFAULT_GATES, Gates, compare, eager_logits, passes
from spartanc.compiler.quality import measure_name, quality
from spartanc.compiler.run import choose_task, name_or_path
from spartanc.compiler.samples import Row, check_labels, encode_examples, read_ids
from spartanc.errors import UsageError
from spartanc.models.checkpoint import load_model
from spartanc.runtime_py.bundle import Bundle, open_bundle
from spartanc.runtime_py.data import Columns, Example, count_rows, read_examples, require_texts
from spartanc.runtime_py.devices.catalogue import device_for

WORST_ROWS = 5


def verify_bundle(
    path: Path,
    *,
    model: Path | None = None,
    data: Path | None = None,
    columns: Columns | None = None,
    expected: Path | None = None,
    task: str | None = None,
    limit: int | None = None,
    min_agreement: float | None = None,
    max_diff: float | None = None,
    device: str = "local",
    threads: int | None = None,
    stages: bool = False,
    require_signature: Path | None = None,
) -> dict[str, Any]:
    """The JSON of `spartanc verify`; `passed` says whether the gates were met.

    stages: also walk the pipeline, see `spartanc.compiler.stages`; needs `model` and `data`.
    """
    if (expected is None) == (model is None or data is None):
        raise UsageError("give either `--model` and `--data`, or `--expected`")
    if stages and expected is not None:
        raise UsageError("`--stages` compiles the model again stage by stage", hint="give `--model` and `--data`")
    bundle = open_bundle(path, require_signature=require_signature, recheck=True)
    if stages:
        # Lowering takes seconds to import, and only this part of the command needs it.
        from spartanc.compiler.stages import require_stages, walk_stages

        require_stages(bundle)
    of_task = choose_task(bundle, task)
    if of_task is not None:
        bundle = bundle.for_task(of_task.problem, of_task.labels, of_task.pairs)
    defaults = DEFAULT_GATES[bundle.quantization]
    gates = Gates(
        defaults.label_agreement if min_agreement is None else min_agreement,
        defaults.max_abs_diff if max_diff is None else max_diff,
    )
    examples: list[Example] = []
    truncated = 0
    loaded = None
    if expected is not None:
        rows, reference = _recorded(expected, bundle.vocabulary_size)
        rows, reference = rows[:limit], reference[:limit]
    else:
        assert model is not None and data is not None
        loaded = load_model(model)
        if loaded.tokenizer is None:
            raise UsageError(f"model `{model}` has no tokenizer, so it takes no text", hint="use `--expected`")
        examples = read_examples(data, columns)[:limit]
        require_texts(examples, bundle.pairs, data, allow_empty=True)
        check_labels(examples, bundle.labels, bundle.task_type, data)
        samples = encode_examples(examples, loaded.tokenizer, bundle.max_length, data)
        rows, truncated = samples.rows, samples.truncated
        reference = eager_logits(loaded.module, rows)
    chosen = device_for(bundle, device)
    got = chosen.run(bundle.path, bundle.program, rows, threads=threads, task=name_or_path(bundle, task))
    if len(got[0]) != len(reference[0]):
        raise UsageError(f"`{path}` gives {len(got[0])} logits, the reference has {len(reference[0])}")
    parity = compare(reference, got)
    result = {
        "bundle": str(path),
        "device": device,
        "emulated": chosen.emulated,
        "samples": parity.samples,
        "truncated": truncated,
        "rows": count_rows(examples) if examples else None,
        "label_agreement": parity.label_agreement,
        "max_abs_diff": parity.max_abs_diff,
        **_quality(bundle, examples, reference, got),
        "worst": _worst(examples, reference, got),
        "gates": {"label_agreement": gates.label_agreement, "max_abs_diff": gates.max_abs_diff},
        "passed": bool(passes(parity, gates)),
    }
    if stages:
        assert loaded is not None
        result |= walk_stages(bundle, loaded, examples, rows, got, gates=gates, device=chosen, threads=threads)
    return result


def _recorded(path: Path, vocabulary: int | None) -> tuple[list[Row], list[np.ndarray]]:
    from safetensors.numpy import load_file

    rows = read_ids(path, vocabulary)
    tensors = load_file(path)
    logits = tensors.get("logits")
    if logits is None or logits.ndim != 2 or len(logits) != len(rows):
        raise UsageError(f"`{path}` needs `logits` [N, C] for its {len(rows)} rows")
    return rows, list(logits.astype(np.float32))


def _quality(bundle: Bundle, examples: list[Example], reference: list, got: list) -> dict[str, float | None]:
    """Accuracy or correlation of both sides against the labels; recorded logits come without any."""
    name = measure_name(bundle)
    sides = {"eager": reference, "device": got}
    return {f"{name}_{side}": quality(bundle, examples, logits) if examples else None for side, logits in sides.items()}


def _worst(examples: list[Example], reference: list, got: list) -> list[dict[str, Any]]:
    """The rows whose logits moved most, with their text."""
    moved = [float(np.max(np.abs(a - b))) for a, b in zip(reference, got, strict=True)]
    order = sorted(range(len(moved)), key=lambda i: -moved[i])[:WORST_ROWS]
    return [
        {
            "row": i + 1,
            "text": examples[i].text if examples else None,
            "max_abs_diff": moved[i],
            "labels_agree": bool(np.argmax(reference[i]) == np.argmax(got[i])),
        }
        for i in order
    ]
