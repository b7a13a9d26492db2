"""The pipeline, top to bottom: load, capture, passes, quantise, lower, emit, verify.

Each stage is one call. Whatever fails ends the compile with its reason, and no bundle is written.
"""

from __future__ import annotations

import importlib.metadata
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

import spartanc
from spartanc.compiler.artifact import check_output, whole_or_nothing, write_manifest
from spartanc.compiler.capture import capture
from spartanc.compiler.errors import UsageError
from spartanc.compiler.lower import Lowered, lower
from spartanc.compiler.progress import say, stage
from spartanc.compiler.proof import DEFAULT_GATES, Parity, compare, eager_logits, require
from spartanc.compiler.quantize import quantize_backbone
from spartanc.compiler.samples import Row, Samples, check_labels, encode_examples, length_sweep, random_rows
from spartanc.compiler.targets.catalogue import find_target
from spartanc.compiler.targets.target import QUANTIZATIONS, Target
from spartanc.models.checkpoint import TrainedModel, load_model
from spartanc.passes import exact_passes, quantizing_passes
from spartanc.passes.manager import run_passes
from spartanc.passes.protocol import PassReport
from spartanc.runtime_py.build import install_runtime
from spartanc.runtime_py.bundle import TOKENIZER
from spartanc.runtime_py.data import read_examples
from spartanc.runtime_py.devices.device import Device
from spartanc.runtime_py.devices.local import LocalDevice
from spartanc.runtime_py.devices.qemu import QemuDevice

PROGRAM = "model.pte"
QUANTIZED_TOLERANCE = 0.1  # of the spread of a probe's logits
EMULATED_ROWS = 3  # emulation takes seconds an input
VERSIONED = ("torch", "executorch", "torchao", "transformers")


@dataclass(frozen=True)
class CompileRequest:
    """The options of `spartanc compile`; None stands for the target's default."""

    models: tuple[Path, ...]
    target: str
    out: Path
    quantize: str | None = None
    lowering: str | None = None
    format: str = "executorch"
    max_length: int = 128
    data: Path | None = None
    shared_backbone: bool = False
    runtime: bool = True


def compile_model(request: CompileRequest) -> dict[str, Any]:
    """Compile one model to one proved bundle; returns the JSON of `spartanc compile`."""
    start = time.monotonic()
    target, quantization = _plan(request)

    with stage("load"):
        model = load_model(request.models[0])
        max_length = _check_length(request.max_length, model)
        samples = _proof_samples(request, model, max_length)
        expected = eager_logits(model.module, samples.rows)

    with stage("capture"):
        program = capture(model.module, max_length)

    with stage("passes"):
        program, reports = run_passes(program, exact_passes(), samples.rows[:2])

    if quantization != "none":
        with stage(f"quantise to {quantization}"):
            program = quantize_backbone(program, max_length)
            program, quantized = run_passes(program, quantizing_passes(quantization), samples.rows[:2])
            reports += quantized

    with stage("lower"):
        lowered = lower(program)

    with whole_or_nothing(request.out) as directory:
        with stage("emit"):
            _emit(directory, lowered, model)
            if not target.is_host and request.runtime:
                install_runtime(target, directory)
        with stage(f"prove on {len(samples.rows)} inputs"):
            parity = _prove(LocalDevice(), directory, samples.rows, expected, quantization)
        if target.runs_under_qemu and request.runtime:
            with stage(f"prove on {target.qemu_cpu} under qemu"):
                few = _shortest(samples.rows, EMULATED_ROWS)
                emulated = [samples.rows[i] for i in few], [expected[i] for i in few]
                _prove(QemuDevice(target), directory, *emulated, quantization)
        probe = _probe(samples.rows[0], expected[0], quantization)
        manifest = _manifest(target, quantization, max_length, model, lowered, reports, probe, parity)
        files = write_manifest(directory, manifest)

    fused = next(report for report in reports if report.name == "fuse_memories")
    return {
        "bundle": str(request.out),
        "target": target.name,
        "files": files,
        "seconds": round(time.monotonic() - start, 3),
        "fused_memories": fused.changes,
        "skipped": [asdict(each) for report in reports for each in report.skipped],
        "delegated_nodes": lowered.delegated_nodes,
        "delegates": lowered.delegates,
        "fallback_ops": lowered.fallback_ops,
        "quantization": quantization,
        "lowering": "fused",
        "truncated": samples.truncated,
        "parity": parity.as_dict(),
        "passes": [_summary(report) for report in reports],
    }


def _plan(request: CompileRequest) -> tuple[Target, str]:
    """The target and quantisation asked for; wrong or unsupported combinations end here, before any work."""
    target = find_target(request.target)
    quantization = request.quantize or target.default_quantization
    if quantization not in QUANTIZATIONS:
        raise UsageError(f"unknown `--quantize {quantization}`", hint=f"one of {', '.join(QUANTIZATIONS)}")
    if len(request.models) > 1 and not request.shared_backbone:
        raise UsageError(
            f"{len(request.models)} models given",
            hint="several models compile together with `--shared-backbone`",
        )
    check_output(request.out)
    return target, quantization


def _check_length(max_length: int, model: TrainedModel) -> int:
    """The longest input, no longer than the encoder has positions."""
    if max_length < 2:
        raise UsageError(f"`--max-length` must be at least 2, got `{max_length}`")
    if max_length > model.max_length:
        say(f"the encoder has {model.max_length} positions: `--max-length` {max_length} becomes that")
    return min(max_length, model.max_length)


def _proof_samples(request: CompileRequest, model: TrainedModel, max_length: int) -> Samples:
    """Real texts (the model's own or `--data`), lengths 1, 2, 3 and the longest, and padded rows."""
    vocabulary = model.vocabulary_size
    pad_id = model.encoder_config.get("pad_token_id") or 0
    if model.tokenizer is None:
        if request.data is not None:
            raise UsageError(f"model `{request.models[0]}` has no tokenizer, so `--data` has no use")
        samples = Samples(random_rows(vocabulary, max_length), 0)
    else:
        examples = list(model.eval_examples)
        if request.data is not None:
            examples = read_examples(request.data)
            check_labels(examples, model.labels, model.problem == "regression", request.data)
        samples = encode_examples(examples, model.tokenizer, max_length)
        if not samples.rows:
            say("the model brings no evaluation texts and no `--data` was given: proved on random ids")
            samples = Samples(random_rows(vocabulary, max_length), 0)
    sweep = length_sweep(samples.rows, vocabulary, max_length, pad_id)
    return Samples([*samples.rows, *sweep], samples.truncated)


def _emit(directory: Path, lowered: Lowered, model: TrainedModel) -> None:
    (directory / PROGRAM).write_bytes(lowered.program)
    if model.tokenizer is not None:
        (directory / TOKENIZER).write_text(model.tokenizer, encoding="utf-8")


def _shortest(rows: list[Row], count: int) -> list[int]:
    """Indices of the probe and of the shortest rows beside it."""
    return [0, *sorted(range(1, len(rows)), key=lambda i: rows[i][0].shape[1])][:count]


def _prove(device: Device, directory: Path, rows: list[Row], expected: list[np.ndarray], quantization: str) -> Parity:
    """Every row as it stands, padding included, against eager; GateError where the gates are missed."""
    got = device.run(directory, directory / PROGRAM, rows, keep_padding=True)
    parity = compare(expected, got)
    require(parity, DEFAULT_GATES[quantization], device.name)
    return parity


def _manifest(
    target: Target,
    quantization: str,
    max_length: int,
    model: TrainedModel,
    lowered: Lowered,
    reports: list[PassReport],
    probe: dict[str, Any],
    parity: Parity,
) -> dict[str, Any]:
    """What the bundle is; the writer adds format and files."""
    config = model.encoder_config
    return {
        "versions": {"spartanc": spartanc.__version__}
        | {package: importlib.metadata.version(package) for package in VERSIONED},
        "target": target.name,
        "program": PROGRAM,
        "architecture": config["model_type"],
        "problem": model.problem,
        "labels": list(model.labels),
        "inputs": [{"name": name, "dtype": "int64", "shape": [1, "L"]} for name in ("input_ids", "attention_mask")],
        "outputs": [{"name": "logits", "dtype": "float32", "shape": [1, len(model.labels) or 1]}],
        "max_length": max_length,
        "vocabulary_size": model.vocabulary_size,
        "memory": asdict(model.spartan) | {"layers": lowered.memory_lookups},
        "quantization": quantization,
        "lowering": "fused",
        "parity": parity.as_dict(),
        "probe": probe,
        "delegated_nodes": lowered.delegated_nodes,
        "delegates": lowered.delegates,
        "fallback_ops": lowered.fallback_ops,
        "passes": [_summary(report) for report in reports],
    }


def _probe(row: Row, expected: np.ndarray, quantization: str) -> dict[str, Any]:
    """One row with eager's logits: whoever loads the bundle can see that it computes what it should.

    An int8 program differs between processors by its nature, so its logits are held loosely and its label exactly.
    """
    allowed = DEFAULT_GATES[quantization].max_abs_diff
    return {
        "input_ids": row[0].tolist(),
        "attention_mask": row[1].tolist(),
        "logits": [[float(value) for value in expected]],
        "tolerance": allowed if allowed is not None else QUANTIZED_TOLERANCE * float(np.ptp(expected) + 1),
    }


def _summary(report: PassReport) -> dict[str, Any]:
    skipped = [asdict(each) for each in report.skipped]
    return {"name": report.name, "changes": report.changes, "skipped": skipped, "notes": report.notes}
