"""The pipeline, top to bottom: load, capture, passes, lift, quantise, lower, emit, prove, seal.

A bundle of one task is a shared program of which nothing is lifted: both go the same way. Whatever fails ends the
compile with its reason, and no bundle is written.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from spartanc.base.progress import say, stage
from spartanc.base.schemes.int8 import INT8
from spartanc.base.schemes.none import NONE
from spartanc.base.schemes.scheme import Scheme
from spartanc.compiler.artifact import whole_or_nothing
from spartanc.compiler.backends.backend import Backend
from spartanc.compiler.fitting import NothingLeft, costs_of_kept, kept_wider, texts_to_fit
from spartanc.compiler.fleet_program import CaptureShared, LiftTask
from spartanc.compiler.kinds import BundleKind, ModelFacts, SharedBackbone, SingleTask
from spartanc.compiler.member import Member, checked_length, load_member, prove_all
from spartanc.compiler.proof import parity_of_all
from spartanc.compiler.request import CompileRequest, Plan, make_plan
from spartanc.compiler.results import CompileResult, Manifest
from spartanc.compiler.sealing import seal
from spartanc.compiler.stage import Artifact, Passes, Pipeline, Stage
from spartanc.compiler.steps import LIFT, Capture, FitLinears, Lower, MeasureCosts, NothingLifted, Trace
from spartanc.compiler.versions import versions
from spartanc.errors import GateError
from spartanc.models.checkpoint import TrainedModel, load_model
from spartanc.passes.memory_site import FormChoice
from spartanc.passes.schemes.catalogue import passes_of
from spartanc.runtime_py.build import RUNTIME, install_runtime
from spartanc.runtime_py.bundle import TOKENIZER

__all__ = ["Artifact", "CompileRequest", "CompileResult", "Passes", "Pipeline", "Plan", "Stage", "compile_model"]

MOST_TRIES = 4  # of a program that misses its gate because it is rounded
FUSION = "fuse_memories"
MEMORY_PASSES = (FUSION, "pack_memories", "quantize_memories", "lower_memory_portable")  # what they leave is `skipped`


def build_pipeline(
    backend: Backend,
    scheme: Scheme,
    max_length: int,
    *,
    choice: FormChoice | None = None,
    task_of: TrainedModel | None = None,
) -> Pipeline:
    """From a classifier in eager PyTorch to the bytes of its program.

    choice: the form of memories, by the target. task_of: the model whose task is lifted out of the program; None for a
    program with its task inside.
    """
    if backend.format == "torchscript":
        return Pipeline((NothingLifted(), Trace(max_length, backend.program)))
    if task_of is None:
        lifting: tuple[Stage, ...] = (MeasureCosts(), NothingLifted())
        final = backend.final_passes(scheme, choice or FormChoice())
    else:
        lifting = (
            Passes("task passes", backend.task_passes(scheme, list(task_of.task_tensors()))),
            LiftTask(task_of, scheme, stock=backend.stock),
            CaptureShared(max_length),
        )
        final = backend.rest_passes(scheme)
    return Pipeline(
        (
            Capture(max_length),
            Passes("exact passes", backend.exact_passes()),
            *lifting,
            *([] if passes_of(scheme).linears is None else [FitLinears(scheme)]),
            *backend.quantizing_stages(scheme),  # before the final passes: see `spartanc.passes.pipelines`
            Passes("final passes", final),
            Lower(backend.partitioners(), inputs_in_place=task_of is not None),
        )
    )


def compile_model(request: CompileRequest) -> CompileResult:
    """Compile one model, or several over one backbone, to one proved bundle."""
    start = time.monotonic()
    plan = make_plan(request)
    kind = SharedBackbone(request, plan) if request.shared_backbone else SingleTask(request)
    members, artifact, rest = _lift_tasks(request, plan, kind)

    with whole_or_nothing(request.out) as directory:
        artifact, emulated = _proved_program(plan, kind.facts, members, artifact, rest, directory)
        done = _what_was_done(plan, artifact, kind.facts, members)
        signature = _signature(plan, kind.facts, artifact.min_length)
        manifest = Manifest(**signature, **done, **kind.write(directory, members))
        files = seal(directory, manifest.as_json(), request)
        kind.check_sealed(directory)

    return CompileResult(
        bundle=str(request.out),
        files=files,
        seconds=round(time.monotonic() - start, 3),
        truncated=sum(member.samples.truncated for member in members),
        **done,
        emulated=emulated,
        **kind.summary(files, plan.backend.program),
    )


def _lift_tasks(request: CompileRequest, plan: Plan, kind: BundleKind) -> tuple[list[Member], Artifact, Pipeline]:
    """Every model up to where its task is lifted out; the one program that is left, and the stages still before it."""
    members: list[Member] = []
    lifted: list[Artifact] = []
    for name, source in kind.sources:
        with stage(f"load {name}"):
            model = load_model(source)
            kind.check_loaded(model, source)
            max_length = kind.facts.max_length if members else checked_length(request.max_length, model)
            member = load_member(name, source, model, max_length, request.data, request.columns)
        pipeline = build_pipeline(
            plan.backend,
            plan.scheme,
            max_length,
            choice=FormChoice(plan.target.packed_keys_up_to[plan.scheme.name]),
            task_of=model if request.shared_backbone else None,
        )
        artifact = pipeline.up_to(LIFT).run(member.artifact(model.module))
        kind.admit(model, source, member, artifact, max_length)
        members.append(member)
        lifted = lifted or [artifact]
    texts = (
        None if plan.scheme.is_exact else texts_to_fit([member.texts() for member in members], plan.scheme.labels_kept)
    )
    return members, replace(kind.widened(lifted[0]), texts=texts), pipeline.after(LIFT)


def _proved_program(
    plan: Plan, facts: ModelFacts, members: Sequence[Member], lifted: Artifact, rest: Pipeline, directory: Path
) -> tuple[Artifact, dict[str, Any] | None]:
    """The finished program, written to `directory` and proved, with what was seen on an emulated processor.

    One that misses its gate because it is rounded is made again with more linears that stay wider, one and then twice
    as many each time, as long as bytes allow; the last miss is raised.
    """
    tries_left, missed = MOST_TRIES, None
    while True:
        try:
            artifact = rest.run(lifted)
        except NothingLeft:
            assert missed is not None, "nothing was to be kept"
            raise missed from None
        for member in members:
            member.min_length = artifact.min_length
        with stage("emit"):
            _emit(plan, artifact, facts, directory)
        try:
            return artifact, prove_all(plan, members, directory / plan.backend.program)
        except GateError as error:
            tries_left, missed = tries_left - 1, error
            if not tries_left or lifted.texts is None or not lifted.texts.decisions:
                raise
            more = max(1, 2 * len(kept_wider(artifact.reports)))
            say(f"it misses its gate, and is made again with {more} linear layers kept wider: {error.message}")
            lifted = replace(lifted, texts=replace(lifted.texts, keep_at_least=more))


def _emit(plan: Plan, artifact: Artifact, facts: ModelFacts, directory: Path) -> None:
    assert artifact.lowered is not None, "the pipeline has no stage that lowers"
    (directory / plan.backend.program).write_bytes(artifact.lowered.program)
    if facts.tokenizer is not None:
        (directory / TOKENIZER).write_text(facts.tokenizer, encoding="utf-8")
    if plan.runtime and not (directory / RUNTIME).exists():  # the same for a program that is made again
        install_runtime(plan.target, directory)


def _signature(plan: Plan, facts: ModelFacts, min_length: int) -> dict[str, Any]:
    """What the program is and takes."""
    return {
        "versions": versions(plan.target if plan.runtime else None),
        "program": plan.backend.program,
        "program_format": plan.backend.format,
        "architecture": facts.architecture,
        "inputs": [{"name": name, "dtype": "int64", "shape": [1, "L"]} for name in ("input_ids", "attention_mask")],
        "max_length": facts.max_length,
        "min_length": min_length if min_length > 1 else None,
        "vocabulary_size": facts.vocabulary_size,
    }


def _what_was_done(plan: Plan, artifact: Artifact, facts: ModelFacts, members: Sequence[Member]) -> dict[str, Any]:
    """What was done, and left undone, on the way: in the result and in the manifest alike."""
    lowered, reports = artifact.lowered, artifact.reports
    assert lowered is not None
    kept = costs_of_kept(reports, plan.target, plan.scheme, facts.max_length)
    return {
        "target": plan.target.name,
        "quantization": plan.scheme.name,
        "lowering": plan.backend.lowering,
        "linears": plan.choice.as_json() | {"bits": plan.scheme.linear_bits},
        "kept_fp32": kept if plan.scheme.wider is NONE else [],
        "kept_int8": kept if plan.scheme.wider is INT8 else [],
        "fused_memories": sum(report.changes for report in reports if report.name == FUSION),
        "skipped": [asdict(each) for report in reports if report.name in MEMORY_PASSES for each in report.skipped],
        "delegated_nodes": lowered.delegated_nodes,
        "delegates": lowered.delegates,
        "fallback_ops": lowered.fallback_ops,
        "operators": list(lowered.operators),
        "backends": list(lowered.backends),
        "costs": lowered.costs,
        "parity": parity_of_all([member.found for member in members]),
        "passes": [asdict(each) for each in reports],
    }
