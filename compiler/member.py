"""One model on its way into a bundle: what it is proved on, what it gave, and the probe that is made of that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from spartanc.base.progress import say, stage
from spartanc.base.schemes.scheme import Scheme
from spartanc.compiler.proof import Parity, compare, eager_logits, gates_of, require
from spartanc.compiler.request import Plan
from spartanc.compiler.samples import Row, Samples, check_labels, encode_examples, length_sweep, random_rows
from spartanc.errors import UsageError
from spartanc.models.checkpoint import TrainedModel
from spartanc.runtime_py.data import Columns, read_examples, require_texts
from spartanc.runtime_py.devices.device import Device
from spartanc.runtime_py.devices.qemu import QemuDevice

QUANTIZED_TOLERANCE = 0.1  # of the spread of a probe's logits
EMULATED_ROWS, EMULATED_ROWS_OF_A_TASK = 3, 2  # emulation takes seconds an input
SHORTEST_PROBE = 4  # tokens


@dataclass
class Member:
    """One task: the only one of its bundle, or one of several over a shared backbone.

    facts: problem, labels, pairs and memory, as manifests and task files have them. outputs: of the
    program. expected: eager PyTorch's logits of the samples. tensors: what the shared program takes as inputs; nothing
    where the program has its task inside.
    """

    name: str
    facts: dict[str, Any]
    outputs: int
    samples: Samples
    expected: list[np.ndarray]
    tensors: dict[str, np.ndarray] = field(default_factory=dict)
    parity: Parity | None = None
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
        got = self._run(device, program, scheme, range(len(self.samples.rows)))
        self.parity = compare(self.expected, got)
        chosen = probe_index(self.samples.rows)
        # A program in fp32 is held to eager's own logits; a shared one takes the task's tensors from its file.
        exact = scheme.is_exact and not self.tensors
        self.probe = make_probe(self.samples.rows[chosen], (self.expected if exact else got)[chosen], scheme)

    def prove_emulated(self, device: Device, program: Path, scheme: Scheme) -> None:
        """The probe's row and the shortest ones, on an emulated processor."""
        count = EMULATED_ROWS_OF_A_TASK if self.tensors else EMULATED_ROWS
        self._run(device, program, scheme, shortest(self.samples.rows, count))

    def _run(self, device: Device, program: Path, scheme: Scheme, indices: Sequence[int]) -> list[np.ndarray]:
        rows, expected = [self.samples.rows[i] for i in indices], [self.expected[i] for i in indices]
        got = device.run(program.parent, program, rows, keep_padding=True, inputs=self.tensors or None)
        where = f"{device.name}, task {self.name}" if self.tensors else device.name
        require(compare(expected, got), gates_of(scheme), where)
        return got


def load_member(
    name: str, source: Path, model: TrainedModel, max_length: int, data: Path | None, columns: Columns | None
) -> Member:
    """The member of `model`, with what it is to be proved on.

    data: texts in place of the model's own; columns: their names in it.
    """
    samples = proof_samples(source, model, max_length, data, columns)
    memory = asdict(model.spartan)
    facts = {"problem": model.problem, "labels": list(model.labels), "pairs": model.pairs, "memory": memory}
    outputs = model.task_type.outputs(model.labels)
    return Member(name, facts, outputs, samples, eager_logits(model.module, samples.rows))


def prove_all(plan: Plan, members: Sequence[Member], program: Path) -> None:
    """Prove every member on this machine and, where the target has one, on its emulated processor."""
    for member in members:
        what = f"prove {member.name} on" if member.tensors else "prove on"
        with stage(f"{what} {len(member.samples.rows)} inputs"):
            member.prove(plan.backend.device(), program, plan.scheme)
        if plan.is_emulated_too:
            with stage(f"{what} {plan.target.qemu_cpu} under qemu"):
                member.prove_emulated(QemuDevice(plan.target), program, plan.scheme)


def checked_length(max_length: int, model: TrainedModel) -> int:
    """The longest input, no longer than the encoder has positions."""
    if max_length < 2:
        raise UsageError(f"`--max-length` must be at least 2, got `{max_length}`")
    if max_length > model.max_length:
        say(f"the encoder has {model.max_length} positions: `--max-length` {max_length} becomes that")
    return min(max_length, model.max_length)


def proof_samples(
    source: Path, model: TrainedModel, max_length: int, data: Path | None, columns: Columns | None
) -> Samples:
    """Real texts (the model's own or those of `data`), lengths 1, 2, 3 and the longest, and padded rows."""
    vocabulary = model.vocabulary_size
    pad_id = model.encoder_config.get("pad_token_id") or 0
    if model.tokenizer is None:
        if data is not None:
            raise UsageError(f"model `{source}` has no tokenizer, so `--data` has no use")
        samples = Samples(random_rows(vocabulary, max_length), 0)
    else:
        examples = list(model.eval_examples)
        if data is not None:
            examples = read_examples(data, columns)
            require_texts(examples, model.pairs, data, allow_empty=True)
            check_labels(examples, model.labels, model.task_type, data)
        samples = encode_examples(examples, model.tokenizer, max_length, data)
        if not samples.rows:
            say("the model brings no evaluation texts and no `--data` was given: proved on random ids")
            samples = Samples(random_rows(vocabulary, max_length), 0)
    sweep = length_sweep(samples.rows, vocabulary, max_length, pad_id)
    return Samples([*samples.rows, *sweep], samples.truncated)


def shortest(rows: Sequence[Row], count: int) -> list[int]:
    """Indices of the first row and of the shortest of the others, `count` in all."""
    return [0, *sorted(range(1, len(rows)), key=lambda i: rows[i][0].shape[1])][:count]


def probe_index(rows: Sequence[Row]) -> int:
    """The row that is cheapest to run at every opening, of those that say something."""
    lengths = [row[0].shape[1] for row in rows]
    return min(range(len(rows)), key=lambda i: (lengths[i] < SHORTEST_PROBE, lengths[i]))


def make_probe(row: Row, expected: np.ndarray, scheme: Scheme) -> dict[str, Any]:
    """One row with its logits: whoever loads the bundle sees that it computes what it should.

    An int8 program differs between processors by its nature: it is held to its own logits of here, and loosely.
    """
    allowed = gates_of(scheme).max_abs_diff
    return {
        "input_ids": row[0].tolist(),
        "attention_mask": row[1].tolist(),
        "logits": [[float(value) for value in expected]],
        "tolerance": allowed if allowed is not None else QUANTIZED_TOLERANCE * float(np.ptp(expected) + 1),
    }
