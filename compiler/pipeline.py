"""The pipeline, top to bottom: load, capture, passes, quantise, lower, emit, verify.

Each stage is one call. Whatever fails ends the compile with its reason, and no bundle is written.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from spartanc.base.progress import say, stage
from spartanc.base.targets.catalogue import find_target
from spartanc.base.targets.target import QUANTIZATIONS, Target
from spartanc.compiler.artifact import check_output, whole_or_nothing
from spartanc.compiler.capture import capture
from spartanc.compiler.costs import operator_costs
from spartanc.compiler.linears import LinearChoice, choose_linears
from spartanc.compiler.lower import Lowered, lower
from spartanc.compiler.proof import DEFAULT_GATES, Parity, compare, eager_logits, require
from spartanc.compiler.quantize import quantize_backbone
from spartanc.compiler.samples import Row, Samples, check_labels, encode_examples, length_sweep, random_rows
from spartanc.compiler.sealing import check_request, seal
from spartanc.compiler.torchscript import emit_torchscript
from spartanc.compiler.versions import versions
from spartanc.errors import UsageError
from spartanc.models.checkpoint import TrainedModel, load_model
from spartanc.passes import exact_passes, final_passes
from spartanc.passes.manager import run_passes
from spartanc.passes.protocol import PassReport
from spartanc.runtime_py.build import install_runtime
from spartanc.runtime_py.bundle import TOKENIZER
from spartanc.runtime_py.data import read_examples
from spartanc.runtime_py.devices.device import Device
from spartanc.runtime_py.devices.local import LocalDevice
from spartanc.runtime_py.devices.qemu import QemuDevice
from spartanc.runtime_py.devices.stock import StockDevice

FUSION = "fuse_memories"
MEMORY_PASSES = (FUSION, "pack_memories", "quantize_memories", "lower_memory_portable")  # what they leave is `skipped`
QUANTIZED_TOLERANCE = 0.1  # of the spread of a probe's logits
EMULATED_ROWS = 3  # emulation takes seconds an input
SHORTEST_PROBE = 4  # tokens


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
    sign: Path | None = None  # a private key
    twin: Path | None = None  # a bundle from the same request, which this one must equal byte by byte


@dataclass(frozen=True)
class Plan:
    """A request with every default filled in, known to be supported."""

    target: Target
    quantization: str
    lowering: str
    format: str
    runtime: bool

    @property
    def program(self) -> str:
        return "model.ts" if self.format == "torchscript" else "model.pte"

    @property
    def linears(self) -> LinearChoice:
        return choose_linears(self.target, self.quantization, self.lowering)

    @property
    def local_device(self) -> Device:
        """Where the program is proved here: what is to run without us is proved without us."""
        return StockDevice() if self.lowering == "portable" else LocalDevice()


def compile_model(request: CompileRequest) -> dict[str, Any]:
    """Compile one model to one proved bundle; returns the JSON of `spartanc compile`."""
    start = time.monotonic()
    plan = _plan(request)
    if request.shared_backbone:
        from spartanc.compiler.fleet import compile_fleet  # which is made of this module's parts

        return compile_fleet(request, plan)

    with stage("load"):
        model = load_model(request.models[0])
        max_length = _check_length(request.max_length, model)
        samples = _proof_samples(request, model, max_length)
        expected = eager_logits(model.module, samples.rows)

    lowered: Lowered | None = None
    reports: list[PassReport] = []
    if plan.format == "executorch":
        lowered, reports = to_executorch(model.module, plan, max_length, samples.rows[:2])

    with whole_or_nothing(request.out) as directory:
        with stage("emit"):
            if lowered is None:
                emit_torchscript(model.module, directory / plan.program, max_length)
            else:
                (directory / plan.program).write_bytes(lowered.program)
            if model.tokenizer is not None:
                (directory / TOKENIZER).write_text(model.tokenizer, encoding="utf-8")
            if plan.runtime:
                install_runtime(plan.target, directory)

        with stage(f"prove on {len(samples.rows)} inputs"):
            parity, got = _prove(plan.local_device, directory, plan, samples.rows, expected)
        if plan.runtime and plan.target.runs_under_qemu:
            with stage(f"prove on {plan.target.qemu_cpu} under qemu"):
                few = _shortest(samples.rows, EMULATED_ROWS)
                rows, logits = [samples.rows[i] for i in few], [expected[i] for i in few]
                _prove(QemuDevice(plan.target), directory, plan, rows, logits)

        i = probe_index(samples.rows)
        probe = _probe(samples.rows[i], (expected if plan.quantization == "none" else got)[i], plan.quantization)
        made = _made(plan, lowered, reports, parity)
        files = seal(directory, _manifest(plan, model, max_length) | made | {"probe": probe}, request)

    return {
        "bundle": str(request.out),
        "files": files,
        "seconds": round(time.monotonic() - start, 3),
        "truncated": samples.truncated,
        **made,
    }


def to_executorch(
    module: nn.Module, plan: Plan, max_length: int, checked: list[Row]
) -> tuple[Lowered, list[PassReport]]:
    """Capture, passes, quantise, lower. The numerics of every pass are compared on the rows `checked`."""
    with stage("capture"):
        program = capture(module, max_length)

    with stage("passes"):
        program, reports = run_passes(program, exact_passes(plan.lowering), checked)
    costs = operator_costs(program)  # before quantisation spells every linear out

    if plan.quantization != "none" and not plan.linears.are_ours:
        with stage(f"quantise to {plan.quantization}"):
            program = quantize_backbone(program, max_length)

    with stage("final passes"):
        packed_up_to = plan.target.packed_keys_up_to[plan.quantization]
        last = final_passes(plan.lowering, plan.quantization, packed_up_to, plan.linears.kernels)
        program, more = run_passes(program, last, checked, given=frozenset({"memories_fused"}))

    with stage("lower"):
        return replace(lower(program), costs=costs), reports + more


def _plan(request: CompileRequest) -> Plan:
    """Defaults filled in; wrong or unsupported combinations end here, before any work."""
    target = find_target(request.target)
    script = request.format == "torchscript"
    quantization = request.quantize or ("none" if script else target.default_quantization)
    if quantization not in QUANTIZATIONS:
        raise UsageError(f"unknown `--quantize {quantization}`", hint=f"one of {', '.join(QUANTIZATIONS)}")
    if script and quantization != "none":
        raise UsageError(
            f"`--format torchscript` does not go with `--quantize {quantization}`",
            hint="TorchScript programs are fp32: `--quantize none`",
        )
    if script and request.lowering == "fused":
        raise UsageError(
            "`--format torchscript` does not go with `--lowering fused`",
            hint="stock torch has no memory operator: `--lowering portable`",
        )
    lowering = request.lowering or ("portable" if script else target.default_lowering)
    if lowering == "portable" and quantization == "int4":
        raise UsageError(
            "`--lowering portable` does not go with `--quantize int4`: stock operators hold memories in fp32",
            hint="`--quantize int8` or `none`, or `--lowering fused`",
        )
    if len(request.models) > 1 and not request.shared_backbone:
        raise UsageError(
            f"{len(request.models)} models given", hint="several models compile together with `--shared-backbone`"
        )
    runtime = request.runtime and not script and not target.is_host and target.has_native_runtime
    check_output(request.out)
    check_request(request)
    return Plan(target, quantization, lowering, request.format, runtime)


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
            check_labels(examples, model.labels, model.task_type, request.data)
        samples = encode_examples(examples, model.tokenizer, max_length)
        if not samples.rows:
            say("the model brings no evaluation texts and no `--data` was given: proved on random ids")
            samples = Samples(random_rows(vocabulary, max_length), 0)
    sweep = length_sweep(samples.rows, vocabulary, max_length, pad_id)
    return Samples([*samples.rows, *sweep], samples.truncated)


def _shortest(rows: list[Row], count: int) -> list[int]:
    """Indices of the probe and of the shortest rows beside it."""
    return [0, *sorted(range(1, len(rows)), key=lambda i: rows[i][0].shape[1])][:count]


def _prove(
    device: Device, directory: Path, plan: Plan, rows: list[Row], expected: list[np.ndarray]
) -> tuple[Parity, list[np.ndarray]]:
    """Every row as it stands, padding included, against eager; GateError where the gates are missed."""
    got = device.run(directory, directory / plan.program, rows, keep_padding=True)
    parity = compare(expected, got)
    require(parity, DEFAULT_GATES[plan.quantization], device.name)
    return parity, got


def _manifest(plan: Plan, model: TrainedModel, max_length: int) -> dict[str, Any]:
    """What the program is and takes; the writer adds format and files."""
    ids_and_mask = ("input_ids", "attention_mask")
    return {
        "versions": versions(plan.target if plan.runtime else None),
        "program": plan.program,
        "program_format": plan.format,
        "architecture": model.encoder_config["model_type"],
        "problem": model.problem,
        "labels": list(model.labels),
        "inputs": [{"name": name, "dtype": "int64", "shape": [1, "L"]} for name in ids_and_mask],
        "outputs": [{"name": "logits", "dtype": "float32", "shape": [1, model.task_type.outputs(model.labels)]}],
        "max_length": max_length,
        "vocabulary_size": model.vocabulary_size,
        "memory": asdict(model.spartan),
    }


def _made(plan: Plan, lowered: Lowered | None, reports: list[PassReport], parity: Parity) -> dict[str, Any]:
    """What was done, and left undone, on the way: in the result and in the manifest alike."""
    return {
        "target": plan.target.name,
        "quantization": plan.quantization,
        "lowering": plan.lowering,
        "linears": asdict(plan.linears),
        "fused_memories": sum(report.changes for report in reports if report.name == FUSION),
        "skipped": [asdict(each) for report in reports if report.name in MEMORY_PASSES for each in report.skipped],
        "delegated_nodes": lowered.delegated_nodes if lowered else 0,
        "delegates": lowered.delegates if lowered else 0,
        "fallback_ops": lowered.fallback_ops if lowered else {},
        "operators": list(lowered.operators) if lowered else [],
        "backends": list(lowered.backends) if lowered else [],
        "costs": lowered.costs if lowered else [],
        "parity": parity.as_dict(),
        "passes": [asdict(each) for each in reports],
    }


def probe_index(rows: list[Row]) -> int:
    """The row that is cheapest to run at every opening, of those that say something."""
    lengths = [row[0].shape[1] for row in rows]
    return min(range(len(rows)), key=lambda i: (lengths[i] < SHORTEST_PROBE, lengths[i]))


def _probe(row: Row, expected: np.ndarray, quantization: str) -> dict[str, Any]:
    """One row with its logits: whoever loads the bundle sees that it computes what it should.

    An int8 program differs between processors by its nature: it is held to its own logits of here, and loosely.
    """
    allowed = DEFAULT_GATES[quantization].max_abs_diff
    return {
        "input_ids": row[0].tolist(),
        "attention_mask": row[1].tolist(),
        "logits": [[float(value) for value in expected]],
        "tolerance": allowed if allowed is not None else QUANTIZED_TOLERANCE * float(np.ptp(expected) + 1),
    }
