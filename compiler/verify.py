"""`spartanc verify`: a bundle on a device against eager PyTorch here, on labelled rows or recorded logits."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from spartanc.compiler.parity import Parity, Reference, largest_difference
from spartanc.compiler.proof import DEFAULT_GATES, Gates, eager_logits, missed, thin_line
from spartanc.compiler.quality import measures
from spartanc.compiler.run import name_or_path
from spartanc.compiler.samples import Row, check_labels, encode_examples, read_ids
from spartanc.compiler.verify_result import VerifyResult
from spartanc.errors import UsageError
from spartanc.models.checkpoint import TrainedModel, load_model
from spartanc.runtime_py.bundle import Bundle, open_bundle
from spartanc.runtime_py.data import Columns, Example, count_rows, read_examples, require_data, require_texts
from spartanc.runtime_py.devices.catalogue import device_for
from spartanc.runtime_py.task_file import choose_task

WORST_ROWS = 5


@dataclass(frozen=True, kw_only=True)
class VerifyRequest:
    """What to verify, against what, and where.

    model, data: the model that the bundle was made of, and labelled rows; or expected: recorded ids and logits.
    limit: rows to take. min_agreement (0 to 1), max_diff (of logits): asked in place of the scheme's own gates.
    stages: also walk the pipeline, see `spartanc.compiler.stages`; needs `model` and `data`.
    require_signature: a public key. Raises UsageError where these don't go together.
    """

    bundle: Path
    model: Path | None = None
    data: Path | None = None
    columns: Columns | None = None
    expected: Path | None = None
    task: str | None = None
    limit: int | None = None
    min_agreement: float | None = None
    max_diff: float | None = None
    device: str = "local"
    threads: int | None = None
    stages: bool = False
    require_signature: Path | None = None

    def __post_init__(self) -> None:
        if self.expected is None and None in (self.model, self.data):
            raise UsageError("give either `--model` and `--data`, or `--expected`")
        for option, given in (("model", self.model), ("data", self.data)):
            if given is not None and self.expected is not None:
                raise UsageError(
                    f"`--{option}` does not go with `--expected`, which has rows and answers of its own",
                    hint="give either `--model` and `--data`, or `--expected`",
                )
        require_data(self.columns, self.data)
        if self.limit is not None and self.limit < 1:
            raise UsageError(f"`--limit` must be at least 1, got `{self.limit}`")
        if self.min_agreement is not None and not 0 <= self.min_agreement <= 1:
            raise UsageError(f"`--min-agreement` is a share from 0 to 1, got `{self.min_agreement}`")
        if self.max_diff is not None and not self.max_diff >= 0:  # NaN is not
            raise UsageError(f"`--max-diff` must be at least 0, got `{self.max_diff}`")
        if self.stages and self.expected is not None:
            raise UsageError("`--stages` compiles the model again stage by stage", hint="give `--model` and `--data`")

    def gates(self, defaults: Gates) -> Gates:
        """What is asked by hand takes the place of the default."""
        if self.min_agreement is not None:
            defaults = replace(defaults, label_agreement=self.min_agreement, agreement_asked=True)
        return defaults if self.max_diff is None else replace(defaults, max_abs_diff=self.max_diff, diff_asked=True)


def verify_bundle(request: VerifyRequest) -> VerifyResult:
    """What `spartanc verify` gives; `passed` says whether the gates were met.

    Raises UsageError for wrong input or an altered bundle, MissingToolError where the device can't be reached.
    """
    bundle = _opened(request)
    gates = request.gates(DEFAULT_GATES[bundle.quantization])
    compared = _compared(bundle, request)
    device = device_for(bundle, request.device)
    task = name_or_path(bundle, request.task)
    got = device.run(bundle.path, bundle.program, compared.rows, threads=request.threads, task=task)
    if len(got[0]) != len(compared.reference[0]):
        raise UsageError(f"`{bundle.path}` gives {len(got[0])} logits, the reference has {len(compared.reference[0])}")
    result = {
        "bundle": str(bundle.path),
        "device": request.device,
        "emulated": device.emulated,
        **_judged(bundle, compared, got, gates),
    }
    if request.stages:
        # Lowering takes seconds to import, and only this part of the command needs it.
        from spartanc.compiler.stages import walk_stages

        assert compared.model is not None
        walked = walk_stages(
            bundle,
            compared.model,
            compared.examples,
            compared.rows,
            got,
            gates=gates,
            device=device,
            threads=request.threads,
        )
        moved = walked.pop("moved")
        for row in result["worst"]:
            row["stages"] = {name: moved_N[row["row"] - 1] for name, moved_N in moved.items()}
        result |= walked
    return VerifyResult.of(result)


def _opened(request: VerifyRequest) -> Bundle:
    """The bundle, as one of the chosen task's kind."""
    bundle = open_bundle(request.bundle, require_signature=request.require_signature, recheck=True)
    if request.stages:
        from spartanc.compiler.stages import require_stages

        require_stages(bundle)
    task = choose_task(bundle, request.task)
    bundle = bundle if task is None else bundle.for_task(task.task_type, task.labels, task.pairs)
    if request.min_agreement is not None and not bundle.task_type.has_classes:
        raise UsageError(
            "`--min-agreement` is a share of equal labels, and the answers of this task are numbers",
            hint="`--max-diff` holds numbers to eager's",
        )
    return bundle


@dataclass(frozen=True)
class _Compared:
    """What the bundle is to answer, and what eager PyTorch answered; examples and model are missing for recordings."""

    rows: list[Row]
    reference: list[np.ndarray]
    examples: list[Example] = field(default_factory=list)
    truncated: int = 0
    model: TrainedModel | None = None


def _compared(bundle: Bundle, request: VerifyRequest) -> _Compared:
    if request.expected is not None:
        return _recorded(request.expected, bundle.vocabulary_size, request.limit)
    assert request.model is not None and request.data is not None
    return _computed(bundle, request.model, request.data, request.columns, request.limit)


def _computed(bundle: Bundle, model: Path, data: Path, columns: Columns | None, limit: int | None) -> _Compared:
    """The rows of `data`, answered by the model here."""
    loaded = load_model(model)
    if loaded.tokenizer is None:
        raise UsageError(f"model `{model}` has no tokenizer, so it takes no text", hint="use `--expected`")
    examples = read_examples(data, columns)[:limit]
    require_texts(examples, bundle.pairs, data, allow_empty=True)
    check_labels(examples, bundle.labels, bundle.task_type, data)
    samples = encode_examples(examples, loaded.tokenizer, bundle.max_length, data)
    return _Compared(samples.rows, eager_logits(loaded.module, samples.rows), examples, samples.truncated, loaded)


def _judged(bundle: Bundle, compared: _Compared, got: list[np.ndarray], gates: Gates) -> dict[str, Any]:
    """How `got` compares, and whether that is within the gates."""
    examples, reference = compared.examples, compared.reference
    logits_NC = np.stack(reference).astype(np.float64)
    against = Reference(logits_NC, bundle.task_type, bundle.labels, tuple(examples), real=True)
    parity = against.compare(got, gates.thin_below)
    reasons = missed(parity, gates)
    return {
        "truncated": compared.truncated,
        "rows": count_rows(examples) if examples else None,
        **_quality(bundle, examples, reference, got),
        **_comparison(parity),
        "worst": _worst(bundle, examples, reference, got),
        "gates": gates.as_dict(parity),
        "passed": not reasons,
        "reasons": reasons,
        "hint": thin_line(parity) if parity.is_thin else None,
    }


def _recorded(path: Path, vocabulary: int | None, limit: int | None) -> _Compared:
    """Rows and logits of a safetensors file."""
    from safetensors.numpy import load_file

    rows = read_ids(path, vocabulary)
    tensors = load_file(path)
    logits = tensors.get("logits")
    if logits is None or logits.ndim != 2 or len(logits) != len(rows):
        raise UsageError(f"`{path}` needs `logits` [N, C] for its {len(rows)} rows")
    return _Compared(rows[:limit], list(logits.astype(np.float32))[:limit])


def _quality(bundle: Bundle, examples: list[Example], reference: list, got: list) -> dict[str, float | None]:
    """What both sides make of the labels, as in `accuracy_eager`; recorded logits come without any."""
    sides = {side: measures(bundle, examples, logits) for side, logits in (("eager", reference), ("device", got))}
    return {f"{name}_{side}": value for side, found in sides.items() for name, value in found.items()}


def _comparison(parity: Parity) -> dict[str, Any]:
    """The fields of `parity`; what `_quality` says of the labels comes from there."""
    found = parity.as_dict()
    for name in ("accuracy_eager", "accuracy_device", "correlation_eager", "correlation_device"):
        found.pop(name, None)
    for name in ("correlation", "r2"):
        if name in found:
            found[f"{name}_with_eager"] = found.pop(name)
    return found


def _worst(bundle: Bundle, examples: list[Example], reference: list, got: list) -> list[dict[str, Any]]:
    """The rows whose logits moved most, with their text."""
    moved = [largest_difference(a, b) for a, b in zip(reference, got, strict=True)]
    order = sorted(range(len(moved)), key=lambda i: -moved[i])[:WORST_ROWS]
    return [
        {
            "row": i + 1,
            "text": examples[i].text if examples else None,
            "max_abs_diff": moved[i],
            "labels_agree": _same_label(bundle, reference[i], got[i]),
            "labels": [_said(bundle, logits[i]) for logits in (reference, got)],
        }
        for i in order
    ]


def _said(bundle: Bundle, logits_C: np.ndarray) -> str | float | list[str] | None:
    """The label that logits stand for; all of them, or the number, where there is not one."""
    answer = bundle.task_type.answer(logits_C, bundle.labels)  # of NaN too: the gates judge it
    return next((answer[key] for key in ("label", "labels", "score") if answer.get(key) is not None), None)


def _same_label(bundle: Bundle, one_C: np.ndarray, other_C: np.ndarray) -> bool | None:
    decided = [bundle.task_type.decide(logits_C[None]) for logits_C in (one_C, other_C)]
    if decided[0] is None or decided[1] is None:
        return None  # numbers have none
    return bool((decided[0] == decided[1]).all())
