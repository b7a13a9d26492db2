"""What commands of the compiler return: the fields of their `--json` documents."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from spartanc.base.results import OPTIONAL, Result


@dataclass(frozen=True, kw_only=True)
class WhatWasDone(Result):
    """What a compile did, and left undone: in its result and in the manifest alike.

    fused_memories, skipped: memories found in the model, and those left as they were, with `node` and `reason`.
    linears: `kernels`, `bits` of a weight, and the `reason` of the choice.
    kept_fp32, kept_int8: linears of an int8, of an int4 program that stay wider for labels' sake, with `linear`,
    `outputs`, `inputs`, and what that costs: `bytes`, and `modelled_ms` of one core for a text of the longest length.
    delegated_nodes, delegates: operators that XNNPACK runs, and in how many subgraphs; fallback_ops: the others, with
    their counts. operators, backends: what a runtime needs. costs: of every operator (`spartanc.compiler.costs`).
    parity: with eager PyTorch. passes: the report of each.
    """

    target: str
    quantization: str
    lowering: str
    linears: dict[str, Any]
    kept_fp32: list[dict[str, Any]]
    kept_int8: list[dict[str, Any]]
    fused_memories: int
    skipped: list[dict[str, str]]
    delegated_nodes: int
    delegates: int
    fallback_ops: dict[str, int]
    operators: list[str]
    backends: list[str]
    costs: list[dict[str, Any]]
    parity: dict[str, Any]
    passes: list[dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class CompileResult(WhatWasDone):
    """Of `spartanc compile`.

    bundle: the directory. files: sizes in bytes. seconds: of the whole compile. truncated: evaluation texts longer than
    the program takes. emulated: device, rows and largest difference of the run on the target's processor under qemu.
    bounds, tasks and the sums of bytes: of a shared backbone alone; bounds are the sizes that tasks may have.
    reproducible: with `--check-reproducible`.
    """

    bundle: str
    files: dict[str, int]
    seconds: float
    truncated: int
    emulated: dict[str, Any] | None = field(default=None, metadata=OPTIONAL)
    bounds: dict[str, list[int]] | None = field(default=None, metadata=OPTIONAL)
    backbone_bytes: int | None = field(default=None, metadata=OPTIONAL)
    tasks: dict[str, dict[str, Any]] | None = field(default=None, metadata=OPTIONAL)
    fleet_bytes: int | None = field(default=None, metadata=OPTIONAL)
    separate_bytes: int | None = field(default=None, metadata=OPTIONAL)
    reproducible: bool | None = field(default=None, metadata=OPTIONAL)


@dataclass(frozen=True, kw_only=True)
class Manifest(WhatWasDone):
    """`manifest.json` but for its format and its files, which are added when it is written.

    versions: of all that made the bundle. program, program_format: the file. inputs, outputs: its signature.
    probe: an input with the logits that the program gives for it.
    thresholds: of the labels, of a multilabel task. pairs: whether a row is two texts, if known. memory: of a bundle of
    one task; fleet: of a shared backbone. min_length: where the program doesn't take every length from 1 on.
    """

    versions: dict[str, str]
    program: str
    program_format: str
    architecture: str
    problem: str
    labels: list[str]
    inputs: list[dict[str, Any]]
    outputs: list[dict[str, Any]]
    max_length: int
    vocabulary_size: int
    probe: dict[str, Any]
    min_length: int | None = field(default=None, metadata=OPTIONAL)
    thresholds: list[float] | None = field(default=None, metadata=OPTIONAL)
    pairs: bool | None = field(default=None, metadata=OPTIONAL)
    memory: dict[str, Any] | None = field(default=None, metadata=OPTIONAL)
    fleet: dict[str, Any] | None = field(default=None, metadata=OPTIONAL)
