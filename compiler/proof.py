"""Proof: the compiled program against eager PyTorch on the same rows, and the gates it has to pass.

docs/validation.md has the rules in prose, with their error rates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from spartanc.base.progress import say
from spartanc.base.schemes.catalogue import SCHEMES
from spartanc.base.schemes.scheme import Scheme
from spartanc.compiler.evidence import THIN_BELOW, class_is_refused, loss_is_refused, share_is_refused
from spartanc.compiler.parity import Parity, Reference, compare
from spartanc.compiler.samples import Row, Samples
from spartanc.errors import GateError
from spartanc.models.checkpoint import TrainedModel

__all__ = [
    "DEFAULT_GATES",
    "Gates",
    "Parity",
    "Reference",
    "compare",
    "eager_logits",
    "eager_reference",
    "gates_of",
    "missed",
    "parity_of_all",
    "passes",
    "require",
    "require_same_elsewhere",
    "tolerance",
]

EAGER_BATCH = 16
# fp32 programs: rounding of float32, in parts of a score's deviation and of its size.
NUMBER_DIFF_OVER_STD = 1e-4
DIFF_OVER_MAGNITUDE = 1e-6
# Quantised programs, on rows that are no texts: in parts of the spread of eager's outputs over texts, or of the largest
# difference there. Noise is like that on texts; a program that is broken at some length or id is far beyond.
SWEEP_DIFF_OVER_SPREAD = 0.1
SWEEP_DIFF_OVER_TEXTS = 4
# Between two processors, a quantised program's own answers: see `tolerance`.
QUANTIZED_TOLERANCE = 0.1
QUANTIZED_NUMBER_TOLERANCE = 0.25


@dataclass(frozen=True)
class Gates:
    """What a comparison must reach. Which of these is asked depends on the task type.

    label_agreement: share of texts with eager's label. accuracy_lost: of the accuracy on texts with labels, at most;
    None where it is not asked. max_abs_diff: of classifiers' logits; None for quantised programs, whose logits are not
    held to eager's. correlation: of a regression with eager; correlation_lost: with the labels, at most; both None for
    fp32, where each number is held to eager's.
    thin_below: of which share of equal labels evidence has to rule lower ones out, else it is thin.
    agreement_asked, diff_asked: given by hand. The one takes the place of all judgement of labels (evidence, classes,
    accuracy), the other of the scale of differences; neither touches what the other stands for.
    """

    label_agreement: float
    max_abs_diff: float | None
    correlation: float | None = None
    correlation_lost: float | None = None
    accuracy_lost: float | None = None
    thin_below: float = THIN_BELOW
    agreement_asked: bool = False
    diff_asked: bool = False

    def as_dict(self, parity: Parity) -> dict[str, float | None]:
        """What was asked of this comparison: the JSON of `gates`."""
        if parity.numbers is None:
            asked = {"label_agreement": self.label_agreement, "max_abs_diff": _allowed_diff(parity, self)}
            unasked = self.accuracy_lost is None or self.agreement_asked
            return asked if unasked else asked | {"accuracy_lost": self.accuracy_lost}
        return {
            "label_agreement": None,
            "max_abs_diff": _allowed_diff(parity, self),
            "correlation": self.correlation,
            "correlation_lost": self.correlation_lost,
        }


# Quantised programs differ between processors by their nature (XNNPACK rounds activations row by row, each instruction
# set in its own way), so their logits are not held to eager's.
_GATES = {
    "exact": Gates(1.0, 1e-4),
    "quantized": Gates(0.99, None, correlation=0.999, correlation_lost=0.01),
    "four_bits": Gates(0.95, None, correlation=0.99, correlation_lost=0.01, accuracy_lost=0.01, thin_below=0.93),
}
DEFAULT_GATES = {name: _GATES[scheme.gates] for name, scheme in SCHEMES.items()}


def gates_of(scheme: Scheme) -> Gates:
    return DEFAULT_GATES[scheme.name]


def eager_logits(module: nn.Module, rows: Sequence[Row]) -> list[np.ndarray]:
    """Logits [C] of every row, in fp32 eager PyTorch: rows of one length together, so nothing is padded for it."""
    by_length: dict[int, list[int]] = {}
    for index, (ids, _) in enumerate(rows):
        by_length.setdefault(ids.shape[1], []).append(index)
    found: dict[int, np.ndarray] = {}
    with torch.inference_mode():
        for members in by_length.values():
            for first in range(0, len(members), EAGER_BATCH):
                batch = members[first : first + EAGER_BATCH]
                ids, mask = (torch.from_numpy(np.concatenate([rows[i][part] for i in batch])) for part in (0, 1))
                found |= zip(batch, module(ids, mask).float().numpy(), strict=True)
    return [found[index] for index in range(len(rows))]


def eager_reference(model: TrainedModel, samples: Samples) -> Reference:
    """What programs made of `model` are compared with on `samples`."""
    logits = np.stack(eager_logits(model.module, samples.rows)).astype(np.float64)
    return Reference(logits, model.task_type, tuple(model.labels), samples.examples, samples.judged or len(logits))


def missed(parity: Parity, gates: Gates) -> list[str]:
    """Every gate that the comparison misses, as a sentence with the figure and what was asked."""
    if not np.isfinite(parity.max_abs_diff):
        return ["an output is not finite"]
    found = []
    allowed = _allowed_diff(parity, gates)
    if allowed is not None and not parity.max_abs_diff <= allowed:
        found.append(f"largest difference {parity.max_abs_diff:.3g} (at most {allowed:.3g} allowed)")
    noise = max(SWEEP_DIFF_OVER_SPREAD * parity.spread, SWEEP_DIFF_OVER_TEXTS * parity.text_diff)
    if allowed is None and parity.sweep_diff > noise:
        found.append(
            f"on rows of random ids and lengths the outputs are off by {parity.sweep_diff:.3g} (at most {noise:.3g}"
            f" allowed; on texts it is {parity.text_diff:.3g})"
        )
    found += _missed_labels(parity, gates) if parity.numbers is None else _missed_numbers(parity, gates)
    return found


def passes(parity: Parity, gates: Gates) -> bool:
    return not missed(parity, gates)


def require(parity: Parity, gates: Gates, device: str) -> None:
    """Raise GateError (exit 6) where the program misses its gates; say so where the evidence is thin."""
    wrong = missed(parity, gates)
    if wrong:
        raise GateError(
            f"the compiled program on `{device}` disagrees with eager PyTorch on {parity.samples} inputs:"
            f" {'; '.join(wrong)}; no bundle was written",
            hint="`--quantize none` rules out quantisation; give more texts with `--data` if few were tried",
        )
    if parity.is_thin:
        say(thin_line(parity))


def thin_line(parity: Parity) -> str:
    """What is said where too few texts were tried."""
    if not parity.real:
        return "evidence is thin: no text was tried, only random ids; `--data FILE` gives texts"
    if parity.labels is not None:
        low, _ = parity.labels.interval
        agreeing, texts = parity.labels.agreeing, parity.labels.texts
        return (
            f"evidence is thin: {agreeing} of {texts} texts have eager's label, so the true share may be as low as"
            f" {low:.1%}; `--data FILE` gives more texts"
        )
    return f"evidence is thin: {parity.texts} texts say little of a correlation; `--data FILE` gives more texts"


def parity_of_all(parities: Sequence[Parity]) -> dict[str, Any]:
    """The JSON of `parity` for one task, or for several: the worst difference, and all texts with labels together."""
    if len(parities) == 1:
        return parities[0].as_dict()
    labelled = [parity.labels for parity in parities if parity.labels is not None]
    texts = sum(each.texts for each in labelled)
    return {
        "max_abs_diff": max(parity.max_abs_diff for parity in parities),
        "label_agreement": sum(each.agreeing for each in labelled) / texts if texts else None,
        "samples": sum(parity.samples for parity in parities),
        "texts": sum(parity.texts for parity in parities if parity.real),
        "evidence": "thin" if any(parity.is_thin for parity in parities) else "enough",
    }


def tolerance(reference: Reference, scheme: Scheme, logits: np.ndarray) -> float:
    """How far another processor's answer may be from `logits` [C], one row's.

    Quantised programs differ between processors by their nature: classes by a part of the row's own spread, numbers by
    a part of the deviation over texts.
    """
    texts_NC, numbers = reference.logits_NC[: reference.texts], not reference.task_type.has_classes
    rounding = DIFF_OVER_MAGNITUDE * float(np.abs(reference.logits_NC).max())
    if scheme.is_exact:
        return NUMBER_DIFF_OVER_STD * float(texts_NC.std()) + rounding if numbers else max(1e-4, rounding)
    if numbers:
        return QUANTIZED_NUMBER_TOLERANCE * float(texts_NC.std()) + rounding
    return QUANTIZED_TOLERANCE * float(np.ptp(logits) + min(1.0, float(texts_NC.std())))


def require_same_elsewhere(
    reference: Reference,
    scheme: Scheme,
    here: Sequence[np.ndarray],
    there: Sequence[np.ndarray],
    rows: Sequence[int],
    device: str,
) -> dict[str, Any]:
    """Hold what another processor gave for a few rows to the answers of here; GateError where it is farther off.

    here: this machine's logits [C] of all rows, which passed their gates. there: the device's, of `rows`. In fp32 it is
    eager that both are held to. Emulation is slow, so it is few rows, and no share of them means anything: every output
    of every row is held to `tolerance`.
    """
    worst = 0.0
    for index, got in zip(rows, there, strict=True):
        wanted = reference.logits_NC[index] if scheme.is_exact else np.asarray(here[index], np.float64)
        off = float(np.abs(wanted - got.astype(np.float64)).max())
        allowed = tolerance(reference, scheme, wanted)
        if not off <= allowed:  # NaN is not
            raise GateError(
                f"the compiled program on `{device}` gives other outputs than"
                f" {'eager' if scheme.is_exact else 'here'}: input {index + 1} is off by {off:.3g} (at most"
                f" {allowed:.3g} allowed); no bundle was written",
                hint="`spartanc doctor` shows which emulator and compiler are in use",
            )
        worst = max(worst, off)
    return {"device": device, "rows": len(rows), "max_abs_diff": worst}


def _allowed_diff(parity: Parity, gates: Gates) -> float | None:
    """The largest difference of fp32 outputs that is rounding; None where outputs are not held to eager's."""
    if gates.max_abs_diff is None or gates.diff_asked:
        return gates.max_abs_diff
    rounding = DIFF_OVER_MAGNITUDE * parity.magnitude
    if parity.numbers is not None:
        return NUMBER_DIFF_OVER_STD * parity.numbers.std + rounding
    return max(gates.max_abs_diff, rounding)


def _missed_labels(parity: Parity, gates: Gates) -> list[str]:
    assert parity.labels is not None
    gate, whole = gates.label_agreement, parity.labels
    # Where every label is asked there is no share of them to be judged by evidence: rounding of fp32 flips none.
    strict = gates.agreement_asked or gate == 1
    found = []
    if whole.share < gate if strict else share_is_refused(whole.agreeing, whole.texts, gate):
        low, high = whole.interval
        found.append(
            f"labels agree on {whole.share:.4f} of {whole.texts} texts, true share {low:.4f} to {high:.4f} (at least"
            f" {gate:g} asked)"
        )
    if strict:
        if parity.sweep_agreement < gate and not gates.agreement_asked:
            found.append(f"labels agree on {parity.sweep_agreement:.4f} of the rows of random ids and lengths")
        return found
    allowed, scores = gates.accuracy_lost, parity.scores
    if allowed is not None and scores is not None and loss_is_refused(scores.lost, scores.error, scores.texts, allowed):
        found.append(
            f"accuracy {scores.device:.4f} on {scores.texts} texts with labels, eager's {scores.eager:.4f} (at most"
            f" {allowed:g} may be lost)"
        )
    for name, each in parity.classes:
        if class_is_refused(each.agreeing, each.texts, gate):
            found.append(f"of {each.texts} texts of class `{name}` {each.texts - each.agreeing} get another label")
    return found


def _missed_numbers(parity: Parity, gates: Gates) -> list[str]:
    assert parity.numbers is not None
    numbers, found = parity.numbers, []
    if gates.correlation is not None and not (numbers.correlation or 0.0) >= gates.correlation:
        said = "none, since nothing varies" if numbers.correlation is None else f"{numbers.correlation:.5f}"
        found.append(f"correlation with eager {said} (at least {gates.correlation:g} asked)")
    if gates.correlation_lost is not None and numbers.lost is not None and numbers.lost > gates.correlation_lost:
        found.append(
            f"correlation with the labels {numbers.correlation_device or 0:.4f}, eager's"
            f" {numbers.correlation_eager:.4f} (at most {gates.correlation_lost:g} may be lost)"
        )
    return found
