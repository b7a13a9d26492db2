"""What the commands do, as functions: `compile`, `verify`, `bench` and `train`.

Import them from `spartanc`. Results are frozen dataclasses with the fields of the commands' `--json` documents, and
`as_json()`; errors are those of `spartanc.errors`. Nothing is printed on stdout. Progress goes to stderr, as in the
commands, unless `progress=False`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from spartanc.base.quiet import hushed
from spartanc.errors import UsageError

if TYPE_CHECKING:
    from spartanc.compiler.results import CompileResult
    from spartanc.compiler.verify_result import VerifyResult
    from spartanc.models.training import TrainResult
    from spartanc.runtime_py.bench_result import BenchResult

StrPath = str | os.PathLike[str]


def compile(
    model: StrPath | Sequence[StrPath],
    *,
    target: str,
    out: StrPath,
    quantize: str | None = None,
    lowering: str | None = None,
    format: Literal["executorch", "torchscript"] = "executorch",
    max_length: int = 128,
    data: StrPath | None = None,
    text_column: str | None = None,
    pair_column: str | None = None,
    label_column: str | None = None,
    label_separator: str | None = None,
    shared_backbone: bool = False,
    runtime: bool = True,
    sign: StrPath | None = None,
    check_reproducible: bool = False,
    progress: bool = True,
) -> CompileResult:
    """Compile a trained model to a bundle that agrees with eager PyTorch, and write it to the directory `out`.

    model: a model.pt, or a checkpoint's directory; with `shared_backbone` a list of them, one a task.
    target: a name that `spartanc targets` lists, such as "host" or "rpi4".
    out: the bundle's directory; absent or empty. It is written whole or not at all.
    quantize: "none", "int8", "int4" or "int4-memories" (4 bits in memories alone); the target's default if None.
    lowering: "fused" (our kernels) or "portable" (stock ExecuTorch operators); the target's default if None.
    format: "torchscript" writes a file for runtimes without ExecuTorch.
    max_length: the longest input in tokens; longer texts are cut.
    data: labelled texts to validate the program on, instead of those that the model brings.
    text_column, pair_column, label_column: what `data` calls its columns `text`, `text_pair` and `label`.
    label_separator: what stands between several labels in one cell; None where a cell is one label.
    runtime: whether a bundle for a board holds its native runtime too.
    sign: a private key to sign the bundle with; `spartanc keygen` makes keys.
    check_reproducible: compile twice, and write nothing unless every byte is the same.
    progress: whether to report the stages on stderr.

    Raises UsageError for wrong or unreadable input, UnsupportedModelError for a model that can't be compiled,
    CompileError if a stage fails, MissingToolError if the target's tools are missing, and GateError if the program
    does not agree with eager.
    """
    with _as_library(progress):
        from spartanc.compiler.pipeline import compile_model
        from spartanc.compiler.reproducible import compile_twice
        from spartanc.compiler.request import CompileRequest
        from spartanc.runtime_py.build import require_runtime
        from spartanc.runtime_py.data import Columns

        if runtime and format == "executorch":
            require_runtime(target)  # before any work
        models = [model] if isinstance(model, str | os.PathLike) else list(model)
        if not models:
            raise UsageError("no model given")
        request = CompileRequest(
            models=tuple(Path(each) for each in models),
            target=target,
            out=Path(out),
            quantize=quantize,
            lowering=lowering,
            format=format,
            max_length=max_length,
            data=_path(data),
            columns=Columns(text_column, pair_column, label_column, label_separator),
            shared_backbone=shared_backbone,
            runtime=runtime,
            sign=_path(sign),
        )
        return compile_twice(request) if check_reproducible else compile_model(request)


def verify(
    bundle: StrPath,
    *,
    model: StrPath | None = None,
    data: StrPath | None = None,
    text_column: str | None = None,
    pair_column: str | None = None,
    label_column: str | None = None,
    label_separator: str | None = None,
    expected: StrPath | None = None,
    device: str = "local",
    task: str | None = None,
    limit: int | None = None,
    min_agreement: float | None = None,
    max_diff: float | None = None,
    stages: bool = False,
    threads: int | None = None,
    require_signature: StrPath | None = None,
    progress: bool = True,
) -> VerifyResult:
    """Compare a bundle on a device with eager PyTorch here: labels, logits and accuracy.

    model, data: the model that the bundle was compiled from, and labelled rows (text_column, pair_column,
    label_column and label_separator as for `compile`); or
    expected: a safetensors file with `input_ids`, `attention_mask` and `logits`.
    device: "local", "qemu", "ssh://user@host[:port]" or "adb[:serial]".
    task: of a fleet.
    limit: take the first so many rows only.
    min_agreement, max_diff: the share of equal labels to require (0 to 1) and the largest difference of logits to
    allow, instead of the defaults of the bundle's quantisation.
    stages: also compile again, stage by stage, and report what each stage costs.
    threads: of the device; all its cores by default.
    require_signature: a public key; the bundle must be signed with its other half.
    progress: whether to report what is under way on stderr.

    Look at `passed`: a bundle that misses its gates is a result here, not an error. Raises UsageError for wrong input
    or an altered bundle, MissingToolError if the device can't be reached.
    """
    with _as_library(progress):
        from spartanc.compiler.verify import VerifyRequest, verify_bundle
        from spartanc.runtime_py.data import Columns

        return verify_bundle(
            VerifyRequest(
                bundle=Path(bundle),
                model=_path(model),
                data=_path(data),
                columns=Columns(text_column, pair_column, label_column, label_separator),
                expected=_path(expected),
                task=task,
                limit=limit,
                min_agreement=min_agreement,
                max_diff=max_diff,
                device=device,
                threads=threads,
                stages=stages,
                require_signature=_path(require_signature),
            )
        )


def bench(
    bundle: StrPath,
    *,
    task: str | None = None,
    device: str = "local",
    baseline: StrPath | None = None,
    length: int | None = None,
    threads: int | None = None,
    seconds: float = 20.0,
    lengths: Sequence[int] = (),
    sweep_threads: Sequence[int] = (),
    operators: bool = False,
    weight_cache: bool = False,
    html: StrPath | None = None,
    verification: VerifyResult | None = None,
    require_signature: StrPath | None = None,
    progress: bool = True,
) -> BenchResult:
    """Measure a bundle's latency, load time and memory, and how far to trust each figure (`trustworthy`, `reasons`).

    task: of a fleet.
    device: as for `verify`; times on an emulated device say nothing about speed.
    baseline: another bundle, run interleaved with this one; a fleet by the same `task`.
    length: of the input in tokens; 128 or the bundle's maximum, whichever is less.
    seconds: limit of the measured runs.
    lengths, sweep_threads: further lengths and thread counts to measure.
    operators: also measure every operator; `html` does.
    weight_cache: switch XNNPACK's weight cache on.
    html: where to write a report of one page; verification: what `verify` returned, to be shown there, with
    `stages=True` the noise by stage too.
    threads, require_signature, progress: as for `verify`.

    Raises UsageError for wrong input or an altered bundle, MissingToolError if the device can't be reached. If the page
    can't be written when all is measured, the UsageError's `result` is what this would have returned.
    """
    with _as_library(progress):
        from spartanc.base.progress import stage
        from spartanc.runtime_py.bench import BenchPlan, bench_bundle

        plan = BenchPlan(
            length=length,
            threads=threads,
            seconds=seconds,
            lengths=tuple(lengths),
            thread_counts=tuple(sweep_threads),
            operators=operators or html is not None,
            weight_cache=weight_cache,
        )
        with stage(f"measure on {device}"):
            return bench_bundle(
                Path(bundle),
                task=task,
                device=device,
                baseline=_path(baseline),
                plan=plan,
                html=_path(html),
                verification=None if verification is None else verification.as_json(),
                require_signature=_path(require_signature),
            )


def train(
    *,
    backbone: StrPath,
    data: StrPath,
    eval: StrPath | None = None,
    out: StrPath,
    text_column: str | None = None,
    pair_column: str | None = None,
    label_column: str | None = None,
    label_separator: str | None = None,
    epochs: float | None = None,
    seed: int = 0,
    learning_rate: float | None = None,
    batch_size: int | None = None,
    max_length: int = 128,
    precision: Literal["fp32", "bf16"] = "fp32",
    arithmetic: Literal["fp32", "int8", "int4"] = "int8",
    parents: int = 16,
    cells: int = 48,
    top_k: int = 8,
    temperature: float = 1.6,
    layer_norm: Literal["none", "post"] = "none",
    layers: int | None = None,
    pooling: Literal["auto", "pooler", "cls", "mean"] = "auto",
    problem: str = "auto",
    init_from: StrPath | None = None,
    teacher: StrPath | None = None,
    samples: bool = True,
    resume: bool = False,
    overwrite: bool = False,
    metric: str = "auto",
    patience: int | None = None,
    class_weights: Literal["none", "balanced"] = "none",
    memory_sparsity: float = 0.0,
    sparsifier: Literal["magnitude", "random", "top-kast", "spartan"] = "top-kast",
    html: StrPath | None = None,
    report_to: Literal["none", "tensorboard", "wandb"] = "none",
    require_learning: bool = False,
    progress: bool = True,
) -> TrainResult:
    """Train SPARTAN memories and a classifier over a frozen encoder, and write the model to `out`.

    backbone: a Hugging Face encoder's directory, of which `layers` keeps the first so many layers.
    data, eval: labelled rows; the epoch that is best on `eval` is kept. Without `eval` a tenth of `data` is held out.
    text_column, pair_column, label_column: what they call their columns `text`, `text_pair` and `label`.
    label_separator: what stands between several labels in one cell; None where a cell is one label.
    epochs: passes over the rows; 3 by default, more if there are few rows.
    learning_rate: of the memories; the classifier's and the LayerNorms' keep their ratio to it.
    seed: of all random choices. batch_size: rows per step. max_length: longest text in tokens. precision: of the frozen
    layers in training; "bf16" is faster if the processor supports it.
    arithmetic: "int8" and "int4" round the forward pass as programs of `quantize` with the same word do, so that they
    hold what was trained.
    parents, cells, top_k, temperature, layer_norm: the shape of every memory (E, M, K, T of the paper).
    pooling: what the classifier reads; "auto" is the encoder's trained pooler, else what its sentence-transformers
    files say, else the mean of all tokens.
    problem: "classification", "regression", "multilabel", or "auto": rows with lists have several labels, and plain
    decimals are numbers if they can hardly be classes.
    init_from: a model over the same encoder to start from.
    teacher: a model of the same task, on a denser encoder say, whose answers are learned beside the labels.
    samples: whether evaluation texts are kept in the model, for `compile` to validate on.
    resume: go on where an interrupted training of the same `out` stopped.
    overwrite: replace a model at `out`, when the new one is complete.
    metric: which measure chooses the epoch; "auto" is accuracy, or macro_f1 if one class has most of the rows;
    r2 for numbers, macro_f1 for several labels a text.
    patience: stop after so many evaluations without a better one.
    class_weights: "balanced" lets every class count alike in the loss.
    memory_sparsity: share of zeros in the memories' keys and values; sparsifier: what chooses them.
    html: where to write a page about the training.
    report_to: where to show the course too, besides the lines beside the model; each needs its package.
    require_learning: raise GateError, and write nothing, if the model is no better than one answer to everything.
    progress: whether to report epochs on stderr.

    Raises UsageError for wrong input, UnsupportedModelError for an encoder that is not supported, GateError if the
    training diverges or `require_learning` is not met, and Interrupted (a KeyboardInterrupt) on Ctrl-C.
    """
    with _as_library(progress):
        from spartanc.models.memory import SpartanConfig
        from spartanc.models.settings import TrainRequest, TrainSettings
        from spartanc.models.training import train as train_model
        from spartanc.runtime_py.data import Columns

        settings = TrainSettings().changed(
            epochs=epochs,
            seed=seed,
            max_length=max_length,
            learning_rate=learning_rate,
            batch_size=batch_size,
            precision=precision,
            arithmetic=arithmetic,
            metric=metric,
            patience=patience,
            class_weights=class_weights,
            memory_sparsity=memory_sparsity,
            sparsifier=sparsifier,
        )
        request = TrainRequest(
            Path(backbone),
            Path(data),
            _path(eval),
            Path(out),
            columns=Columns(text_column, pair_column, label_column, label_separator),
            settings=settings,
            adapt=epochs is None,
            spartan=SpartanConfig(parents, cells, top_k, temperature, layer_norm),
            layers=layers,
            pooling=pooling,
            problem=problem,
            init_from=_path(init_from),
            teacher=_path(teacher),
            samples=samples,
            resume=resume,
            overwrite=overwrite,
            html=_path(html),
            report_to=report_to,
            require_learning=require_learning,
        )
        return train_model(request)


def _path(path: StrPath | None) -> Path | None:
    return None if path is None else Path(path)


@contextmanager
def _as_library(progress: bool) -> Iterator[None]:
    """The libraries' warnings stay away, as in the commands; what is global is put back afterwards."""
    with hushed():
        if progress:
            yield
            return
        from spartanc.base.progress import silenced

        with silenced():
            yield
