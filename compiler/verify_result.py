"""What `spartanc verify` returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from spartanc.base.open_result import OpenResult


@dataclass(frozen=True)
class VerifyResult(OpenResult):
    """How a bundle on a device compares with eager PyTorch.

    passed: whether the gates were met. gates: what was required. reasons: what was missed; hint: what to do about it.
    samples: rows that were compared; truncated: how many of them were cut to the bundle's maximum.
    label_agreement: the share of rows with equal labels, 0 to 1; max_abs_diff: the largest difference of two logits.
    accuracy_eager, accuracy_device: against the labels; None for recorded logits and for other metrics, which are in
    `document` under their own names.
    emulated: whether the device computes on an emulated processor.
    worst: the rows whose logits moved most, with `labels`, eager's and the bundle's, and with `--stages` how far each
    stage moved them.
    """

    bundle: str
    device: str
    emulated: bool
    samples: int
    truncated: int
    label_agreement: float | None
    max_abs_diff: float
    accuracy_eager: float | None
    accuracy_device: float | None
    passed: bool
    reasons: list[str]
    hint: str | None
    gates: Mapping[str, Any]
    worst: list[dict[str, Any]]
