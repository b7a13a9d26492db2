"""Proof: the compiled program against eager PyTorch on the same rows, and the gates it has to pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import nn

from spartanc.base.schemes.catalogue import SCHEMES
from spartanc.base.schemes.scheme import Scheme
from spartanc.compiler.samples import Row
from spartanc.errors import GateError


@dataclass(frozen=True)
class Gates:
    """What a comparison must reach; `max_abs_diff` None means that logits are not held to eager's."""

    label_agreement: float
    max_abs_diff: float | None


# int8 and int4 differ between processors by their nature (XNNPACK rounds activations row by row, each instruction
# set in its own way), so only labels are held to eager's.
_GATES = {"exact": Gates(1.0, 1e-4), "quantized": Gates(0.99, None)}
DEFAULT_GATES = {name: _GATES[scheme.gates] for name, scheme in SCHEMES.items()}


def gates_of(scheme: Scheme) -> Gates:
    return DEFAULT_GATES[scheme.name]


@dataclass(frozen=True)
class Parity:
    max_abs_diff: float
    label_agreement: float
    samples: int

    def as_dict(self) -> dict[str, float | int]:
        return asdict(self)


def eager_logits(module: nn.Module, rows: Sequence[Row]) -> list[np.ndarray]:
    """Logits [C] of every row, in fp32 eager PyTorch."""
    with torch.inference_mode():
        return [module(torch.from_numpy(ids), torch.from_numpy(mask))[0].float().numpy() for ids, mask in rows]


def compare(expected: Sequence[np.ndarray], got: Sequence[np.ndarray]) -> Parity:
    """Largest difference of any logit (NaN counts as infinite), and the share of rows with the same label."""
    if not expected or len(expected) != len(got):
        raise AssertionError(f"{len(expected)} expected rows against {len(got)}")
    reference, result = np.stack(expected).astype(np.float64), np.stack(got).astype(np.float64)
    difference = np.abs(reference - result)
    difference[~np.isfinite(difference)] = np.inf
    agreement = np.mean(reference.argmax(-1) == result.argmax(-1))
    return Parity(float(difference.max()), float(agreement), len(expected))


def passes(parity: Parity, gates: Gates) -> bool:
    near = gates.max_abs_diff is None or parity.max_abs_diff <= gates.max_abs_diff
    return near and parity.label_agreement >= gates.label_agreement and np.isfinite(parity.max_abs_diff)


def require(parity: Parity, gates: Gates, device: str) -> None:
    """Raise GateError (exit 6) where the program misses its gates."""
    if passes(parity, gates):
        return
    allowed = "" if gates.max_abs_diff is None else f" (at most {gates.max_abs_diff:g} allowed)"
    raise GateError(
        f"the compiled program on `{device}` disagrees with eager PyTorch on {parity.samples} inputs: labels agree on"
        f" {parity.label_agreement:.4f} (at least {gates.label_agreement:g} asked), largest logit difference"
        f" {parity.max_abs_diff:.3g}{allowed}; no bundle was written",
        hint="`--quantize none` rules out quantisation; give more texts with `--data` if few were tried",
    )
