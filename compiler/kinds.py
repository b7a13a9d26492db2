"""The two kinds of bundles: one task inside its program, or several tasks over one program. What differs stands here.

    model.pte                     the program; a shared one takes the tensors of a task after ids and mask
    tokenizer.json
    tasks/NAME.safetensors        of a shared program, for each task: see `spartanc.runtime_py.task_file`
    manifest.json                 with `fleet` for a shared program: backbone, bounds, inputs, tasks
    manifest.sha256

Tasks of a shared program may differ in labels, in parents, cells, top_k and temperature within `bounds`. They share,
proved and not assumed: every tensor of the backbone, the computation, the tokenizer, and whether a LayerNorm follows
the memory.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from spartanc.compiler.backbone import Backbone, describe_backbone, require_equal, require_equal_tensors
from spartanc.compiler.lifted import LiftedTask
from spartanc.compiler.member import Member
from spartanc.compiler.request import CompileRequest, Plan
from spartanc.compiler.stage import Artifact
from spartanc.compiler.task_files import check_every_task, checked_name, require_hidden_size, write_member
from spartanc.errors import UsageError
from spartanc.models.checkpoint import TrainedModel
from spartanc.runtime_py.bundle import FLEET
from spartanc.runtime_py.task_file import dtype_name

# What a shared program takes at least; the tasks it is compiled with widen it. Only activations of the portable form
# grow with these, so they are generous.
LEAST_BOUNDS = {"parents": 64, "cells": 512, "classes": 128}


@dataclass(frozen=True)
class ModelFacts:
    """What all models of a bundle share: the first one's."""

    architecture: str
    vocabulary_size: int
    tokenizer: str | None
    max_length: int


class BundleKind(ABC):
    """What a compile does with its models in one kind of bundle, in the order of its methods."""

    sources: list[tuple[str, Path]]  # names and files of the models
    _facts: ModelFacts | None = None

    @property
    def facts(self) -> ModelFacts:
        """Of the first model that was admitted."""
        assert self._facts is not None, "no model was admitted yet"
        return self._facts

    def check_loaded(self, model: TrainedModel, source: Path) -> None:
        """Raise UsageError for a model that can't be a part of the bundle, as far as its weights tell."""
        return

    def admit(self, model: TrainedModel, source: Path, member: Member, artifact: Artifact, max_length: int) -> None:
        """Take in a model whose program is lifted; UsageError if it can't be a part of the bundle."""
        self._facts = self._facts or ModelFacts(
            model.encoder_config["model_type"], model.vocabulary_size, model.tokenizer, max_length
        )

    @abstractmethod
    def widened(self, artifact: Artifact) -> Artifact:
        """The first model's artifact, fit for all of them."""

    @abstractmethod
    def write(self, directory: Path, members: Sequence[Member]) -> dict[str, Any]:
        """Write what the bundle has beside its program; returns what only manifests of this kind say."""

    def check_sealed(self, directory: Path) -> None:
        """The finished bundle as whoever opens it finds it."""
        return

    @abstractmethod
    def summary(self, files: Mapping[str, int], program: str) -> dict[str, Any]:
        """What only results of this kind say."""


class SingleTask(BundleKind):
    """A bundle whose program has its task inside."""

    def __init__(self, request: CompileRequest):
        self.sources = [(request.models[0].name, request.models[0])]

    def widened(self, artifact: Artifact) -> Artifact:
        return artifact

    def write(self, directory: Path, members: Sequence[Member]) -> dict[str, Any]:
        (member,) = members
        return {
            **member.facts,
            "outputs": [{"name": "logits", "dtype": "float32", "shape": [1, member.outputs]}],
            "probe": member.probe,
        }

    def summary(self, files: Mapping[str, int], program: str) -> dict[str, Any]:
        return {}


class SharedBackbone(BundleKind):
    """A fleet: several tasks over one program."""

    def __init__(self, request: CompileRequest, plan: Plan):
        if plan.backend.format != "executorch":
            raise UsageError(
                f"`--shared-backbone` does not go with `--format {plan.backend.format}`",
                hint="`--format executorch` takes it",
            )
        if request.data is not None and len(request.models) > 1:
            raise UsageError(
                "`--data` holds texts of one task, and several models were given",
                hint="each model is proved on the evaluation texts that it brings",
            )
        self.sources = [(task_name(path), path) for path in request.models]
        names = [name for name, _ in self.sources]
        for name in names:
            if names.count(name) > 1:
                raise UsageError(f"two models give the task `{name}`", hint="rename one of the files")
        self._scheme = plan.backend.task_scheme(plan.scheme)
        self._backbone: Backbone | None = None
        self._bounds = {word: (1, least) for word, least in LEAST_BOUNDS.items()}
        self._fleet: dict[str, Any] = {}

    def check_loaded(self, model: TrainedModel, source: Path) -> None:
        if self._backbone is not None:
            first = str(self.sources[0][1])
            require_equal_tensors(self._backbone.tensors, model, str(source), first, self._backbone.digest)
        require_hidden_size(self._scheme, model, source)

    def admit(self, model: TrainedModel, source: Path, member: Member, artifact: Artifact, max_length: int) -> None:
        super().admit(model, source, member, artifact, max_length)
        task = lifted_task(artifact)
        if self._backbone is None:
            self._backbone = describe_backbone(model, task.lifted.computation)
        else:
            require_equal(self._backbone.as_dict(), model, task.lifted.computation, str(source))
        member.tensors = task.tensors
        for word, (_, size) in task.bounds.items():
            self._bounds[word] = (1, max(size, self._bounds[word][1]))

    def widened(self, artifact: Artifact) -> Artifact:
        task = replace(lifted_task(artifact), bounds=self._bounds)
        assert self._backbone is not None
        self._fleet = {
            "backbone": self._backbone.as_dict(),
            "quantization": self._scheme.name,
            "bounds": {word: list(bound) for word, bound in self._bounds.items()},
            "inputs": [
                {"name": each.name, "dtype": dtype_name(task.tensors[each.name].dtype), "shape": list(each.shape)}
                for each in task.inputs
            ],
        }
        return replace(artifact, task=task)

    def write(self, directory: Path, members: Sequence[Member]) -> dict[str, Any]:
        self._fleet |= {"tasks": {each.name: write_member(directory, each, self._fleet) for each in members}}
        first = members[0].probe
        assert first is not None
        return {
            "problem": FLEET,
            "labels": [],
            "outputs": [{"name": "logits", "dtype": "float32", "shape": [1, "classes"]}],
            # Every task has a probe of its own; this is an input to measure with.
            "probe": {name: first[name] for name in ("input_ids", "attention_mask")},
            "fleet": self._fleet,
        }

    def check_sealed(self, directory: Path) -> None:
        check_every_task(directory)

    def summary(self, files: Mapping[str, int], program: str) -> dict[str, Any]:
        return {"bounds": self._fleet["bounds"], **sizes(files[program], self._fleet["tasks"])}


def task_name(path: Path) -> str:
    """A task is called as its model's file is, without `.pt`."""
    return checked_name(path.absolute().name.removesuffix(".pt"))


def lifted_task(artifact: Artifact) -> LiftedTask:
    assert artifact.task is not None, "no task was lifted out of the program"
    return artifact.task


def sizes(program_bytes: int, tasks: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Bytes of the backbone and of each task, and what as many separate programs would take."""
    each = {name: row["bytes"] for name, row in tasks.items()}
    return {
        "backbone_bytes": program_bytes,
        "tasks": {name: dict(row) for name, row in tasks.items()},
        "fleet_bytes": program_bytes + sum(each.values()),
        "separate_bytes": sum(program_bytes + count for count in each.values()),
    }
