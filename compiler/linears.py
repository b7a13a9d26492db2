"""Whose kernels the int8 linears of a program are compiled for, and why."""

from __future__ import annotations

from dataclasses import dataclass

from spartanc.base.targets.target import Target


@dataclass(frozen=True)
class LinearChoice:
    """kernels: `spartan` for `spartan::linear_int8`, `xnnpack` for delegated ones; reason: for the report."""

    kernels: str
    reason: str

    @property
    def are_ours(self) -> bool:
        return self.kernels == "spartan"


def choose_linears(target: Target, quantization: str, lowering: str) -> LinearChoice:
    if quantization == "none":
        return LinearChoice("xnnpack", "fp32 linears are XNNPACK's everywhere")
    if lowering == "portable":
        return LinearChoice("xnnpack", "the portable lowering holds stock operators only")
    if target.linears == "xnnpack":
        return LinearChoice("xnnpack", f"of int8 kernels for `{target.cpu}` XNNPACK has the faster")
    return LinearChoice("spartan", "XNNPACK does not use this processor's tile registers (amx_int8)")
