"""What a pipeline is made of: stages, each of which takes an artifact and returns the next one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
import torch
from torch import nn
from torch.export import Dim, ExportedProgram

from spartanc.base.progress import stage as shown
from spartanc.compiler.fitting import TextsToFit
from spartanc.compiler.lifted import LiftedTask
from spartanc.compiler.lower import Lowered
from spartanc.errors import UsageError
from spartanc.passes.manager import Promises, check_order, run_passes
from spartanc.passes.protocol import GraphPass, PassReport


@dataclass(frozen=True)
class Captured:
    """A program, and the inputs and dynamic shapes with which it can be captured again."""

    program: ExportedProgram
    inputs: tuple[torch.Tensor, ...]
    shapes: tuple[dict[int, Dim], ...]


@dataclass(frozen=True)
class Artifact:
    """What one stage hands to the next.

    module: the classifier in eager PyTorch. rows: the inputs on which the numerics of passes are compared, in parts of
    `scale` (see `run_passes`). texts: what quantised linears are fitted to, if they are.
    promises: what holds of the program. costs: of every operator, before quantisation
    (`spartanc.compiler.costs`). task: the tensors that were lifted out of a shared program. lowered: the finished
    program. min_length: tokens of the shortest input that the program takes, rows and texts among them.
    """

    module: nn.Module
    rows: Sequence[tuple[np.ndarray, ...]] = ()
    texts: TextsToFit | None = None
    scale: float = 1.0
    captured: Captured | None = None
    promises: Promises = field(default_factory=dict)
    reports: tuple[PassReport, ...] = ()
    costs: tuple[dict[str, Any], ...] = ()
    task: LiftedTask | None = None
    lowered: Lowered | None = None
    min_length: int = 1

    @property
    def program(self) -> ExportedProgram:
        """The captured program; a stage that needs one stands behind one that captures."""
        assert self.captured is not None, "nothing was captured yet"
        return self.captured.program

    def with_program(self, program: ExportedProgram, **changes: Any) -> Artifact:
        """The artifact with another program of the same signature."""
        assert self.captured is not None
        return replace(self, captured=replace(self.captured, program=program), **changes)


class Stage(ABC):
    """One step of a pipeline. name: what it is listed, taken out and replaced by."""

    name: str
    is_shown: bool = True  # as progress; what takes no time is not

    @abstractmethod
    def run(self, artifact: Artifact) -> Artifact: ...

    def names(self) -> tuple[str, ...]:
        """What can be taken out or replaced here."""
        return (self.name,)

    def without(self, names: frozenset[str]) -> Stage | None:
        """The stage without what has one of `names`; None if that is all of it."""
        return None if self.name in names else self

    def replaced(self, name: str, by: Stage | GraphPass) -> Stage:
        if name != self.name:
            return self
        if not isinstance(by, Stage):
            raise UsageError(f"`{name}` is a stage, and can't be replaced by the pass `{by.name}`")
        return by


class Passes(Stage):
    """Graph passes in order: each is checked, and each can be taken out or replaced by its own name."""

    def __init__(self, name: str, passes: Iterable[GraphPass]):
        self.name = name
        self.passes = tuple(passes)

    def run(self, artifact: Artifact) -> Artifact:
        promises = check_order(self.passes, artifact.promises)
        program, reports = run_passes(artifact.program, self.passes, artifact.rows, artifact.promises, artifact.scale)
        return artifact.with_program(program, promises=promises, reports=(*artifact.reports, *reports))

    def names(self) -> tuple[str, ...]:
        return tuple(each.name for each in self.passes)

    def without(self, names: frozenset[str]) -> Stage | None:
        if self.name in names:
            return None
        return Passes(self.name, (each for each in self.passes if each.name not in names))

    def replaced(self, name: str, by: Stage | GraphPass) -> Stage:
        if name == self.name:
            return super().replaced(name, by)
        if name not in self.names():
            return self
        if not isinstance(by, GraphPass):
            raise UsageError(f"`{name}` is a pass, and can't be replaced by the stage `{by.name}`")
        return Passes(self.name, (by if each.name == name else each for each in self.passes))


@dataclass(frozen=True)
class Pipeline:
    """Stages in order. A value: whatever changes it returns another one.

    pipeline.names()                                  ("capture", "fuse_memories", …, "lower")
    pipeline.without("fuse_attention")                a stage's name or a pass's
    pipeline.replaced("pack_memories", PackMemories(choice))
    """

    stages: tuple[Stage, ...]

    def names(self) -> tuple[str, ...]:
        """Of every stage, and in the place of a stage of passes those of its passes."""
        return tuple(name for each in self.stages for name in each.names())

    def passes(self) -> tuple[GraphPass, ...]:
        return tuple(each for stage in self.stages if isinstance(stage, Passes) for each in stage.passes)

    def without(self, *names: str) -> Self:
        """The pipeline without stages or passes of these names; UsageError for one that it does not have."""
        self._require(names)
        left = (each.without(frozenset(names)) for each in self.stages)
        return replace(self, stages=tuple(each for each in left if each is not None))

    def replaced(self, name: str, by: Stage | GraphPass) -> Self:
        """The pipeline with `by` in the place of the stage or pass `name`."""
        self._require([name])
        return replace(self, stages=tuple(each.replaced(name, by) for each in self.stages))

    def up_to(self, name: str) -> Self:
        """The stages up to the one called `name`, itself included."""
        return replace(self, stages=self.stages[: self._place(name) + 1])

    def after(self, name: str) -> Self:
        """The stages behind the one called `name`."""
        return replace(self, stages=self.stages[self._place(name) + 1 :])

    def run(self, artifact: Artifact) -> Artifact:
        """Run every stage. Raises CompileError before any of them if a pass would lack what it requires."""
        check_order(self.passes(), artifact.promises)
        for each in self.stages:
            if each.is_shown:
                with shown(each.name):
                    artifact = each.run(artifact)
            else:
                artifact = each.run(artifact)
        return artifact

    def _place(self, name: str) -> int:
        names = [each.name for each in self.stages]
        if name not in names:
            raise UsageError(f"the pipeline has no stage `{name}`", hint=f"it has {', '.join(names)}")
        return names.index(name)

    def _require(self, names: Iterable[str]) -> None:
        known = {*self.names(), *(each.name for each in self.stages)}
        for name in names:
            if name not in known:
                raise UsageError(
                    f"the pipeline has no stage or pass `{name}`", hint=f"it has {', '.join(self.names())}"
                )
