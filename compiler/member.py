"""One model on its way into a bundle: what it is proved on, what it gave, and the probe that is made of that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from spartanc.base.progress import say, stage
from spartanc.base.schemes.scheme import Scheme
from spartanc.compiler.capture import check_longest
from spartanc.compiler.fitting import TextsOfTask
from spartanc.compiler.proof import (
    Parity,
    Reference,
    eager_reference,
    gates_of,
    require,
    require_same_elsewhere,
    tolerance,
)
from spartanc.compiler.request import Plan
from spartanc.compiler.samples import Row, Samples, check_labels, encode_examples, random_samples, sweep_rows
from spartanc.compiler.stage import Artifact
from spartanc.errors import UsageError
from spartanc.models.checkpoint import TrainedModel
from spartanc.runtime_py.data import Columns, read_examples, require_texts
from spartanc.runtime_py.devices.device import Device
from spartanc.runtime_py.devices.qemu import QemuDevice
from spartanc.runtime_py.session import pad

CHECKED_ROWS = 2  # on which the numerics of every pass are compared
EMULATED_ROWS, EMULATED_ROWS_OF_A_TASK = 3, 2  # emulation takes seconds an input
SHORTEST_PROBE = 4  # tokens


@dataclass
class Member:
    """One task: the only one of its bundle, or one of several over a shared backbone.

    facts: problem, labels, thresholds if there are any, pairs and memory, as manifests have them. outputs: how many
    logits it gives. reference: eager PyTorch's logits of the samples. min_length: tokens of the shortest input that a
    program of it takes; rows of fewer are padded to that, but for eager. tensors: what the shared program takes as
    inputs; nothing where the program has its task inside.
    """

    name: str
    facts: dict[str, Any]
    outputs: int
    samples: Samples
    reference: Reference
    min_length: int = 1
    tensors: dict[str, np.ndarray] = field(default_factory=dict)
    parity: Parity | None = None
    got: list[np.ndarray] = field(default_factory=list)  # on this machine
    probe: dict[str, Any] | None = None

    @property
    def found(self) -> Parity:
        """The parity, once it was measured."""
        assert self.parity is not None, f"`{self.name}` was not proved"
        return self.parity

    def prove(self, device: Device, program: Path, scheme: Scheme) -> None:
        """Every row as it stands, padding included, against eager; keeps parity and probe.

        Raises GateError if the gates of `scheme` are missed.
        """
        self.got = self._run(device, program, range(len(self.samples.rows)))
        gates = gates_of(scheme)
        self.parity = self.reference.compare(self.got, gates.thin_below)
        require(self.parity, gates, self._place(device))
        chosen = probe_index(self.samples.rows)
        # A program in fp32 is held to eager's own logits; a shared one takes the task's tensors from its file.
        exact = scheme.is_exact and not self.tensors
        logits = (self.reference.logits_NC if exact else self.got)[chosen]
        self.probe = make_probe(self.samples.rows[chosen], logits, tolerance(self.reference, scheme, logits))

    def prove_emulated(self, device: Device, program: Path, scheme: Scheme) -> dict[str, Any]:
        """The first row and the shortest ones on an emulated processor, held to the answers of this machine."""
        few = shortest(self.samples.rows, EMULATED_ROWS_OF_A_TASK if self.tensors else EMULATED_ROWS)
        there = self._run(device, program, few)
        return require_same_elsewhere(self.reference, scheme, self.got, there, few, self._place(device))

    def texts(self) -> TextsOfTask:
        """The real texts among the samples, as the program takes them."""
        count = len(self.samples.examples)
        tensors = tuple(torch.from_numpy(each) for each in self.tensors.values())
        rows = [(torch.from_numpy(ids), torch.from_numpy(mask), *tensors) for ids, mask in self._taken(range(count))]
        return TextsOfTask(rows, self.reference.logits_NC[:count], self.reference.task_type)

    def artifact(self, module: nn.Module) -> Artifact:
        """What a pipeline begins with."""
        count = min(CHECKED_ROWS, len(self.samples.rows))
        return Artifact(module, self._taken(range(count)), scale=self.reference.scale, min_length=self.min_length)

    def _run(self, device: Device, program: Path, indices: Sequence[int]) -> list[np.ndarray]:
        rows = self._taken(indices)
        return device.run(program.parent, program, rows, keep_padding=True, inputs=self.tensors or None)

    def _taken(self, indices: Sequence[int]) -> list[Row]:
        return [pad(*self.samples.rows[i], self.min_length) for i in indices]

    def _place(self, device: Device) -> str:
        return f"{device.name}, task {self.name}" if self.tensors else device.name


def load_member(
    name: str, source: Path, model: TrainedModel, max_length: int, data: Path | None, columns: Columns | None
) -> Member:
    """The member of `model`, with what it is to be proved on.

    data: texts in place of the model's own; columns: their names in it.
    """
    samples = proof_samples(source, model, max_length, data, columns)
    memory = asdict(model.spartan)
    facts: dict[str, Any] = {"problem": model.problem, "labels": list(model.labels)}
    if model.thresholds:
        facts["thresholds"] = list(model.thresholds)
    facts |= {"pairs": model.pairs, "memory": memory}
    outputs = model.task_type.outputs(model.labels)
    return Member(name, facts, outputs, samples, eager_reference(model, samples), model.min_length)


def prove_all(plan: Plan, members: Sequence[Member], program: Path) -> dict[str, Any] | None:
    """Prove every member on this machine and, where the target has one, on its emulated processor.

    Returns what was seen there: device, rows in all, and the largest difference; None for no such processor.
    """
    emulated = []
    for member in members:
        what = f"validate {member.name} on" if member.tensors else "validate on"
        with stage(f"{what} {len(member.samples.rows)} inputs"):
            member.prove(plan.backend.device(), program, plan.scheme)
        if plan.is_emulated_too:
            with stage(f"{what} {plan.target.qemu_cpu} under qemu"):
                emulated.append(member.prove_emulated(QemuDevice(plan.target), program, plan.scheme))
    if not emulated:
        return None
    return {
        "device": f"qemu:{plan.target.qemu_cpu}",
        "rows": sum(each["rows"] for each in emulated),
        "max_abs_diff": max(each["max_abs_diff"] for each in emulated),
    }


def checked_length(max_length: int, model: TrainedModel) -> int:
    """The longest input, no longer than the encoder has positions."""
    check_longest(max_length, model.min_length)
    if max_length > model.max_length:
        say(f"the encoder has {model.max_length} positions: `--max-length` {max_length} becomes that")
    return min(max_length, model.max_length)


def proof_samples(
    source: Path, model: TrainedModel, max_length: int, data: Path | None, columns: Columns | None
) -> Samples:
    """Real texts (the model's own or those of `data`), and rows made to break a program."""
    vocabulary = model.vocabulary_size
    pad_id = model.encoder_config.get("pad_token_id") or 0
    if model.tokenizer is None:
        if data is not None:
            raise UsageError(f"model `{source}` has no tokenizer, so `--data` has no use")
        samples = random_samples(vocabulary, max_length)
    else:
        examples = list(model.eval_examples)
        if data is not None:
            examples = read_examples(data, columns)
            require_texts(examples, model.pairs, data, allow_empty=True)
            check_labels(examples, model.labels, model.task_type, data)
        samples = encode_examples(examples, model.tokenizer, max_length, data)
        if not samples.rows:
            say("the model brings no evaluation texts and no `--data` was given: proved on random ids")
            samples = random_samples(vocabulary, max_length)
    sweep = sweep_rows(samples.rows, vocabulary, max_length, pad_id)
    return replace(samples, rows=[*samples.rows, *sweep])


def shortest(rows: Sequence[Row], count: int) -> list[int]:
    """Indices of the first row and of the shortest of the others, `count` in all."""
    return [0, *sorted(range(1, len(rows)), key=lambda i: rows[i][0].shape[1])][:count]


def probe_index(rows: Sequence[Row]) -> int:
    """The row that is cheapest to run at every opening, of those that say something."""
    lengths = [row[0].shape[1] for row in rows]
    return min(range(len(rows)), key=lambda i: (lengths[i] < SHORTEST_PROBE, lengths[i]))


def make_probe(row: Row, logits: np.ndarray, allowed: float) -> dict[str, Any]:
    """One row with its logits: whoever loads the bundle sees that it computes what it should.

    A quantised program differs between processors by its nature: it is held to its own logits of here, and loosely.
    """
    return {
        "input_ids": row[0].tolist(),
        "attention_mask": row[1].tolist(),
        "logits": [[float(value) for value in logits]],
        "tolerance": allowed,
    }
