"""The stages of a program for one task, but for its passes; those of a shared program are in `fleet_program`."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from spartanc.base.schemes.scheme import Scheme
from spartanc.compiler.capture import capture, dynamic_shapes, example_inputs
from spartanc.compiler.costs import operator_costs
from spartanc.compiler.fitting import linears_to_keep
from spartanc.compiler.lower import Lowered, lower
from spartanc.compiler.quantize import quantize_linears
from spartanc.compiler.stage import Artifact, Captured, Passes, Stage
from spartanc.compiler.torchscript import emit_torchscript
from spartanc.passes.even_inputs import EvenInputs
from spartanc.passes.keep_linears import KeepLinears
from spartanc.passes.round_weights import RoundWeights
from spartanc.passes.schemes.catalogue import passes_of

LIFT = "lift"  # up to it every task's model goes its own way; behind it there is one program


class Capture(Stage):
    """The module as an exported program of one text and dynamic length."""

    name = "capture"

    def __init__(self, max_length: int):
        self._max_length = max_length

    def run(self, artifact: Artifact) -> Artifact:
        program = capture(artifact.module, self._max_length, artifact.min_length)
        inputs = example_inputs(min(self._max_length, 8))
        shapes = dynamic_shapes(self._max_length, artifact.min_length)
        return replace(artifact, captured=Captured(program, inputs, shapes))


class MeasureCosts(Stage):
    """What every operator costs; before quantisation, which spells every linear out."""

    name = "costs"
    is_shown = False

    def run(self, artifact: Artifact) -> Artifact:
        return replace(artifact, costs=tuple(operator_costs(artifact.program)))


class NothingLifted(Stage):
    """A bundle of one task: a shared program of which nothing is lifted."""

    name = LIFT
    is_shown = False

    def run(self, artifact: Artifact) -> Artifact:
        return artifact


class FitLinears(Stage):
    """What makes a scheme lose less of a backbone that was trained without it, fitted to the artifact's texts."""

    name = "fit linears"

    def __init__(self, scheme: Scheme):
        self._scheme = scheme

    def run(self, artifact: Artifact) -> Artifact:
        texts, grid = artifact.texts, passes_of(self._scheme).linears
        if texts is None or grid is None:
            return artifact
        evened = Passes(self.name, [EvenInputs(texts.inputs, grid)]).run(artifact)
        rounded = Passes(self.name, [RoundWeights(texts.inputs, grid)]).run(evened)
        kept = linears_to_keep(evened.program, rounded.program, texts, self._scheme)
        return Passes(self.name, [KeepLinears(kept)]).run(rounded) if kept else rounded


class QuantizeLinears(Stage):
    """The backbone's linears for XNNPACK, by PT2E."""

    def __init__(self, scheme: str):
        self.name = f"quantise linears to {scheme}"

    def run(self, artifact: Artifact) -> Artifact:
        captured = artifact.captured
        assert captured is not None
        return artifact.with_program(quantize_linears(captured.program, captured.inputs, captured.shapes))


class Lower(Stage):
    """To the bytes of a program for ExecuTorch."""

    name = "lower"

    def __init__(self, partitioners: Sequence[Any], *, inputs_in_place: bool = False):
        """inputs_in_place: see `spartanc.compiler.lower.lower`."""
        self._partitioners = list(partitioners)
        self._inputs_in_place = inputs_in_place

    def run(self, artifact: Artifact) -> Artifact:
        lowered = lower(artifact.program, partitioners=self._partitioners, inputs_in_place=self._inputs_in_place)
        return replace(artifact, lowered=replace(lowered, costs=list(artifact.costs)))


class Trace(Stage):
    """To the bytes of a TorchScript program, proved on its own at every length from 1 on, which a trace takes."""

    name = "trace"

    def __init__(self, max_length: int, file_name: str):
        """file_name: stands inside the file too, so it is the one that it will have."""
        self._max_length = max_length
        self._file_name = file_name

    def run(self, artifact: Artifact) -> Artifact:
        with tempfile.TemporaryDirectory(prefix="spartanc-") as scratch:
            path = Path(scratch, self._file_name)
            emit_torchscript(artifact.module, path, self._max_length)
            return replace(artifact, lowered=Lowered(path.read_bytes(), 0, 0, {}), min_length=1)
