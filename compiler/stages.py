"""`spartanc verify --stages`: the pipeline again, stage by stage, and what each stage did to the results.

    captured            torch.export's program, in PyTorch
    each exact pass     the program after it, in PyTorch
    lowered             in fp32, packed, on the native runtime here
    memories SCHEME     the memories alone quantised, everything else in fp32, on the native runtime here
    linears nearest     the backbone's linears alone, rounded to the nearest; of a bundle that was fitted to texts
    linears int8        the backbone's linears alone, as the bundle has them (or `int4`)
    embeddings int8     the tables alone (or `int4`)
    all                 the whole quantised program
    all on DEVICE       the same on the device asked for, where that is not this machine
    bundle              the bundle itself on the device

Quantisations are taken apart, not added up: each figure is what that one costs by itself. Every quantised stage is a
program of its own, lowered and run by the same runtime as the bundle, with every layer's output behind its logits
(`spartanc.compiler.traced`): PyTorch's converted program rounds activations differently and is no reference. What
layers are compared with is fp32 eager PyTorch.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from spartanc.base.progress import stage
from spartanc.base.schemes.catalogue import find_scheme
from spartanc.base.schemes.none import NONE
from spartanc.base.schemes.scheme import Scheme
from spartanc.base.targets.catalogue import find_target
from spartanc.compiler.backends.backend import Backend
from spartanc.compiler.backends.catalogue import backend_of
from spartanc.compiler.fitting import TextsOfTask, TextsToFit, texts_to_fit
from spartanc.compiler.parity import Reference, largest_difference
from spartanc.compiler.pipeline import Artifact, Passes, Pipeline, build_pipeline
from spartanc.compiler.proof import Gates, eager_reference, gates_of, passes
from spartanc.compiler.quality import measure_name, quality
from spartanc.compiler.samples import Row, encode_examples, padded
from spartanc.compiler.steps import LIFT, FitLinears
from spartanc.compiler.traced import LayerTrace, TraceLayout, eager_trace, trace_memories
from spartanc.errors import CompileError, UsageError
from spartanc.models.checkpoint import TrainedModel
from spartanc.passes.memory_site import FormChoice
from spartanc.passes.schemes.catalogue import passes_of
from spartanc.runtime_py.bundle import Bundle
from spartanc.runtime_py.data import Example
from spartanc.runtime_py.devices.device import Device
from spartanc.runtime_py.session import pad

_LOWERED = "lowered"
_CHUNK_BYTES = 64 << 20  # of traces that are held at a time
# A process answers rows of one length, since a trace is as long as its row: rows are padded to a multiple of this, and
# the mask leaves what stands at their true positions as it is.
_LENGTH_STEP = 16

Forward = Callable[[Sequence[Row]], list[np.ndarray]]


def require_stages(bundle: Bundle) -> None:
    """Raise UsageError where there is no pipeline to walk."""
    if bundle.is_fleet:
        raise UsageError(
            f"`--stages` walks the pipeline of one model, and `{bundle.path}` holds several tasks",
            hint="compile the task's model alone and walk that bundle's stages",
        )
    if bundle.manifest.get("program_format") == "torchscript":
        raise UsageError(f"`{bundle.path}` holds TorchScript, whose one stage is tracing: there is nothing to walk")


@dataclass
class _Stage:
    """One point of the pipeline: how to run rows there, what it may do, and what it did so far.

    layout: None where the program gives logits alone.
    """

    name: str
    where: str
    forward: Forward
    gates: Gates
    layout: TraceLayout | None = None
    logits: dict[int, np.ndarray] = field(default_factory=dict)
    layers: list[_Layer] = field(default_factory=list)


@dataclass
class _Layer:
    """Sums over all rows of one layer's output, and of the parents that its memory chose."""

    signal: float = 0.0
    noise: float = 0.0
    choices: int = 0
    flipped: int = 0

    def add(self, eager: LayerTrace, got: LayerTrace, parents_EH: np.ndarray, top_k: int) -> None:
        # Eager has no padding; the program has, and of the last layer perhaps the pooled position alone.
        count = min(len(eager.given_PH), len(got.given_PH))
        reference_PH = eager.given_PH[:count].astype(np.float64)
        self.signal += float(np.square(reference_PH).sum())
        self.noise += float(np.square(got.given_PH[:count] - reference_PH).sum())
        before, after = (_chosen(each.taken_PH[:count], parents_EH, top_k) for each in (eager, got))
        self.choices += count * top_k
        self.flipped += int((before & ~after).sum())

    def as_dict(self, number: int) -> dict[str, Any]:
        found = {
            "layer": number,
            "snr_db": self.snr_db,
            "parents_chosen": self.choices,
            "parents_flipped": self.flipped,
        }
        # JSON has null for both kinds of layers without a ratio.
        return found if self.snr_db is None or math.isfinite(self.snr_db) else found | {"finite": False}

    @property
    def snr_db(self) -> float | None:
        """Signal over noise; None where not a bit differs, NaN where there is no such ratio."""
        if self.noise == 0:
            return None
        ratio = self.signal / self.noise
        return 10 * math.log10(ratio) if 0 < ratio < math.inf else math.nan


def walk_stages(
    bundle: Bundle,
    model: TrainedModel,
    examples: Sequence[Example],
    rows: Sequence[Row],
    got: Sequence[np.ndarray],
    *,
    gates: Gates,
    device: Device,
    threads: int | None = None,
) -> dict[str, Any]:
    """`stages`, one entry each in order; `first_moved`: the first that moved results by more than it may, or None; and
    `moved`: by stage, the largest difference of a logit from eager of every row.

    got: what the bundle on `device` gave for `rows`. gates: what the bundle has to reach.
    """
    order = sorted(range(len(rows)), key=lambda i: rows[i][0].shape[1])  # few lengths a chunk
    with tempfile.TemporaryDirectory(prefix="spartanc-") as scratch:
        stages, parents = _build(bundle, model, examples, Path(scratch), device, threads)
        expected: dict[int, np.ndarray] = {}
        with stage(f"run {len(rows)} inputs through {len(stages)} stages"):
            for chunk in _chunks(order, rows, model):
                chosen = [rows[i] for i in chunk]
                traces = [eager_trace(model.module, row) for row in chosen]
                expected |= {i: logits for i, (logits, _) in zip(chunk, traces, strict=True)}
                for each in stages:
                    lengths = [_padded_length(row, bundle.max_length) for row in chosen]
                    eager = [layers for _, layers in traces]
                    _add(each, chunk, each.forward(chosen), lengths, eager, parents, model.spartan.top_k)
    whole = _Stage("bundle", device.name, lambda rows: [], gates)
    whole.logits = dict(enumerate(got))
    reference = [expected[i] for i in range(len(rows))]
    every = (*stages, whole)
    found = [_summary(each, bundle, examples, reference) for each in every]
    moved = next((each["stage"] for each in found if not each["passed"]), None)
    same = stages[-1].logits
    return {
        "stages": found,
        "first_moved": moved,
        "moved": {each.name: _distances(each, reference) for each in every},
        # The traced program is the bundle's but for what is read from it: their logits show it.
        "traced_vs_bundle_max_abs_diff": max(largest_difference(same[i], got[i]) for i in range(len(rows))),
    }


def _build(
    bundle: Bundle,
    model: TrainedModel,
    texts: Sequence[Example],
    scratch: Path,
    device: Device,
    threads: int | None,
) -> tuple[list[_Stage], list[np.ndarray]]:
    """Every stage up to the bundle, and the parents [E, H] of every memory."""
    backend, scheme = backend_of(bundle.manifest), find_scheme(bundle.quantization)
    exact, quantized = gates_of(NONE), gates_of(scheme)
    pad_id = model.encoder_config.get("pad_token_id") or 0
    here = backend.device()
    pipeline = _pipeline(bundle, backend, scheme)
    given = Artifact(model.module, texts=_texts(bundle, scheme, model, texts), min_length=model.min_length)
    artifact = pipeline.up_to("capture").run(given)
    stages = [_Stage("captured", "torch", _in_torch(artifact), exact)]
    with stage("exact passes"):
        for each in pipeline.up_to(LIFT).passes():
            artifact = Passes(each.name, [each]).run(artifact)
            stages.append(_Stage(each.name, "torch", _in_torch(artifact), exact))
    traced, layout = trace_memories(artifact.program)
    artifact = artifact.with_program(traced)
    parents = [memory.parents.detach().float().numpy() for memory in model.module.memories()]
    if len(layout.positions) != len(parents):
        raise CompileError(
            f"{len(layout.positions)} of {len(parents)} memories were fused, so layers can't be told apart"
        )
    fitted = artifact
    if artifact.texts is not None:
        with stage(FitLinears.name):
            fitted = FitLinears(scheme).run(artifact)
    for name, part, is_fitted in _parts(bundle, backend, scheme, has_texts=artifact.texts is not None):
        with stage(name):
            lowered = part.run(fitted if is_fitted else artifact).lowered
        assert lowered is not None
        file = scratch / f"{len(list(scratch.iterdir()))}.pte"
        file.write_bytes(lowered.program)
        gates = exact if name == _LOWERED else quantized
        stages.append(_Stage(name, here.name, _on(here, bundle, file, pad_id, threads), gates, layout))
    if device.name != here.name:
        file = max(scratch.iterdir(), key=lambda path: int(path.stem))
        stages.append(
            _Stage(f"all on {device.name}", device.name, _on(device, bundle, file, pad_id, threads), quantized, layout)
        )
    return stages, parents


def _texts(bundle: Bundle, scheme: Scheme, model: TrainedModel, given: Sequence[Example]) -> TextsToFit | None:
    """What linears are fitted to: the model's own texts, or `given` where it has none.

    A bundle that was compiled with `--data` was fitted to other texts: its stages differ from it by that.
    """
    examples = list(model.eval_examples) or list(given)
    if model.tokenizer is None or scheme.is_exact:
        return None
    samples = encode_examples(examples, model.tokenizer, bundle.max_length)
    taken = [pad(*row, model.min_length) for row in samples.rows]
    rows = [(torch.from_numpy(ids), torch.from_numpy(mask)) for ids, mask in taken]
    if not rows:
        return None
    texts = TextsOfTask(rows, eager_reference(model, samples).logits_NC, model.task_type)
    fitted = texts_to_fit([texts], scheme.labels_kept)
    kept = [*bundle.manifest.get("kept_fp32", []), *bundle.manifest.get("kept_int8", [])]
    return fitted and replace(fitted, keep_at_least=len(kept))


def _pipeline(bundle: Bundle, backend: Backend, scheme: Scheme) -> Pipeline:
    """The one that the bundle came out of, or the same with another scheme."""
    choice = FormChoice(find_target(bundle.target).packed_keys_up_to[scheme.name])
    return build_pipeline(backend, scheme, bundle.max_length, choice=choice)


def _parts(
    bundle: Bundle, backend: Backend, scheme: Scheme, *, has_texts: bool
) -> Iterator[tuple[str, Pipeline, bool]]:
    """What follows the exact passes: without any quantisation, with each one alone, and whole.

    With each, whether it begins with the linears fitted to the texts: that takes long, and is done once for all.
    """
    plain = _pipeline(bundle, backend, NONE).after(LIFT)
    yield _LOWERED, plain, False
    if scheme.is_exact:
        return
    whole = _pipeline(bundle, backend, scheme).after(LIFT).without(FitLinears.name)
    linears = [each.name for each in backend.quantizing_stages(scheme)]
    linears += [each.name for each in backend.quantizing_passes(scheme)]
    tables = [each.name for each in passes_of(scheme).embeddings(backend.stock)]
    of_memories = whole.passes()[0].name
    plain_memories = whole.replaced(of_memories, plain.passes()[0])
    if not backend.stock:  # whose memories stay in fp32
        yield f"memories {scheme.name}", whole.without(*linears, *tables), False
    if has_texts:
        yield "linears nearest", plain_memories.without(*tables), False
    width = f"int{scheme.linear_bits}"
    yield f"linears {width}", plain_memories.without(*tables), True
    yield f"embeddings {width}", plain_memories.without(*linears), False
    yield "all", whole, True


def _in_torch(artifact: Artifact) -> Forward:
    module, shortest = artifact.program.module(), artifact.min_length

    def forward(rows: Sequence[Row]) -> list[np.ndarray]:
        taken = [pad(*row, shortest) for row in rows]
        with torch.inference_mode():
            return [module(torch.from_numpy(ids), torch.from_numpy(mask))[0].numpy() for ids, mask in taken]

    return forward


def _on(device: Device, bundle: Bundle, program: Path, pad_id: int, threads: int | None) -> Forward:
    def forward(rows: Sequence[Row]) -> list[np.ndarray]:
        long = [padded(row, _padded_length(row, bundle.max_length), pad_id) for row in rows]
        return device.run(bundle.path, program, long, threads=threads, keep_padding=True)

    return forward


def _padded_length(row: Row, max_length: int) -> int:
    return min(-(-row[0].shape[1] // _LENGTH_STEP) * _LENGTH_STEP, max_length)


def _chunks(order: Sequence[int], rows: Sequence[Row], model: TrainedModel) -> Iterator[list[int]]:
    """Indices of rows, `order` cut where traces of all layers would take too much memory."""
    token = sum(8 * memory.parents.shape[1] for memory in model.module.memories())
    chunk: list[int] = []
    size = 0
    for i in order:
        own = token * rows[i][0].shape[1]
        if chunk and size + own > _CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
        chunk.append(i)
        size += own
    if chunk:
        yield chunk


def _add(
    each: _Stage,
    chunk: Sequence[int],
    outputs: Sequence[np.ndarray],
    lengths: Sequence[int],
    eager: Sequence[list[LayerTrace]],
    parents: Sequence[np.ndarray],
    top_k: int,
) -> None:
    """Keep the logits of a chunk's `outputs`, and add its traces, of rows padded to `lengths`, to the sums."""
    each.layers = each.layers or [_Layer() for _ in parents if each.layout is not None]
    for i, flat, length, reference in zip(chunk, outputs, lengths, eager, strict=True):
        if each.layout is None:
            each.logits[i] = flat
            continue
        each.logits[i] = each.layout.logits(flat).copy()
        traces = each.layout.layers(flat, length)
        for layer, expected, found, parents_EH in zip(each.layers, reference, traces, parents, strict=True):
            layer.add(expected, found, parents_EH, top_k)


def _chosen(taken_PH: np.ndarray, parents_EH: np.ndarray, top_k: int) -> np.ndarray:
    """Which parents [P, E] the positions choose; ties take the lower index, as the kernels do."""
    logits_PE = taken_PH.astype(np.float64) @ parents_EH.T.astype(np.float64)
    order_PK = np.argsort(-logits_PE, axis=1, kind="stable")[:, :top_k]
    chosen_PE = np.zeros(logits_PE.shape, bool)
    np.put_along_axis(chosen_PE, order_PK, True, axis=1)
    return chosen_PE


def _distances(each: _Stage, reference: Sequence[np.ndarray]) -> list[float]:
    return [largest_difference(logits_C, each.logits[i]) for i, logits_C in enumerate(reference)]


def _summary(
    each: _Stage, bundle: Bundle, examples: Sequence[Example], reference: Sequence[np.ndarray]
) -> dict[str, Any]:
    logits = [each.logits[i] for i in range(len(reference))]
    against = np.stack(reference).astype(np.float64)
    parity = Reference(against, bundle.task_type, bundle.labels, tuple(examples), real=True).compare(logits)
    ours, eager = quality(bundle, examples, logits), quality(bundle, examples, reference)
    name = measure_name(bundle)
    return {
        "stage": each.name,
        "where": each.where,
        "max_abs_diff": parity.max_abs_diff,
        "label_agreement": parity.label_agreement,
        name: ours,
        f"{name}_cost": None if ours is None or eager is None else eager - ours,
        "layers": [layer.as_dict(number) for number, layer in enumerate(each.layers, 1)],
        "gates": each.gates.as_dict(parity),
        "passed": bool(passes(parity, each.gates)),
    }
