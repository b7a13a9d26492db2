"""All backends, and how one is chosen: by the target, the scheme and what the user asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from spartanc.base.schemes.scheme import Scheme
from spartanc.base.targets.target import Target
from spartanc.compiler.backends.backend import Backend, BackendChoice
from spartanc.compiler.backends.portable import PORTABLE
from spartanc.compiler.backends.spartan_kernels import SPARTAN_KERNELS
from spartanc.compiler.backends.torchscript import TORCHSCRIPT
from spartanc.compiler.backends.xnnpack import XNNPACK
from spartanc.errors import UsageError

BACKENDS: tuple[Backend, ...] = (XNNPACK, SPARTAN_KERNELS, PORTABLE, TORCHSCRIPT)
_FP32 = "fp32 linears are XNNPACK's everywhere"
_INT4 = "4-bit linears are XNNPACK's everywhere"


def choose_backend(target: Target, scheme: Scheme, lowering: str | None, torchscript: bool = False) -> BackendChoice:
    """The backend of a program, and why its linears are whose they are.

    lowering: None if the user named none. Raises UsageError for a combination that is not supported.
    """
    if torchscript:
        _check_torchscript(scheme, lowering)
        return BackendChoice(TORCHSCRIPT, _FP32)
    if lowering == PORTABLE.lowering:
        if not scheme.stock_forms:
            raise UsageError(
                f"`--lowering portable` does not go with `--quantize {scheme.name}`: stock operators hold memories in"
                " fp32",
                hint="`--quantize int8` or `none`, or `--lowering fused`",
            )
        return BackendChoice(PORTABLE, _FP32 if scheme.is_exact else "the portable lowering holds stock operators only")
    if scheme.is_exact:
        return BackendChoice(XNNPACK, _FP32)
    if scheme.linear_bits == 4:
        return BackendChoice(XNNPACK, _INT4)
    ours = target.linears == SPARTAN_KERNELS.kernels
    return BackendChoice(SPARTAN_KERNELS if ours else XNNPACK, target.linears_reason)


def backend_of(manifest: Mapping[str, Any]) -> Backend:
    """The backend that a bundle was compiled with, by its manifest; UsageError if there is none like that."""
    kernels = manifest.get("linears", {}).get("kernels", XNNPACK.kernels)
    wanted = (manifest["lowering"], kernels, manifest.get("program_format", XNNPACK.format))
    for backend in BACKENDS:
        if (backend.lowering, backend.kernels, backend.format) == wanted:
            return backend
    raise UsageError("the bundle was compiled for a backend that this spartanc does not have: " + ", ".join(wanted))


def _check_torchscript(scheme: Scheme, lowering: str | None) -> None:
    if not scheme.is_exact:
        raise UsageError(
            f"`--format torchscript` does not go with `--quantize {scheme.name}`",
            hint="TorchScript programs are fp32: `--quantize none`",
        )
    if lowering not in (None, TORCHSCRIPT.lowering):
        raise UsageError(
            f"`--format torchscript` does not go with `--lowering {lowering}`",
            hint="stock torch has no memory operator: `--lowering portable`",
        )
