"""What `spartanc compile` is asked for, and the plan that follows from it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from spartanc.base.schemes.catalogue import find_scheme
from spartanc.base.schemes.none import NONE
from spartanc.base.schemes.scheme import Scheme
from spartanc.base.targets.catalogue import find_target
from spartanc.base.targets.target import Target
from spartanc.compiler.artifact import check_output
from spartanc.compiler.backends.backend import Backend, BackendChoice
from spartanc.compiler.backends.catalogue import choose_backend
from spartanc.errors import UsageError
from spartanc.runtime_py.bundle import LOWERINGS, PROGRAM_FORMATS
from spartanc.runtime_py.data import Columns, require_data
from spartanc.runtime_py.signature import read_private_key


@dataclass(frozen=True)
class CompileRequest:
    """The options of `spartanc compile`; None stands for the target's default."""

    models: tuple[Path, ...]
    target: str
    out: Path
    quantize: str | None = None
    lowering: str | None = None
    format: str = "executorch"
    max_length: int = 128
    data: Path | None = None
    columns: Columns | None = None  # of `data`
    shared_backbone: bool = False
    runtime: bool = True
    sign: Path | None = None  # a private key
    twin: Path | None = None  # a bundle from the same request, which this one must equal byte by byte


@dataclass(frozen=True)
class Plan:
    """A request with every default filled in, known to be supported."""

    target: Target
    scheme: Scheme
    choice: BackendChoice
    runtime: bool = False

    @property
    def backend(self) -> Backend:
        return self.choice.backend

    @property
    def is_emulated_too(self) -> bool:
        """Whether the program is proved on the target's processor under qemu as well."""
        return self.runtime and self.target.runs_under_qemu


def make_plan(request: CompileRequest) -> Plan:
    """Defaults filled in; wrong or unsupported combinations end here, before any work."""
    target = find_target(request.target)
    for option, word, known in (
        ("--lowering", request.lowering, LOWERINGS),
        ("--format", request.format, PROGRAM_FORMATS),
    ):
        if word not in (None, *known):
            raise UsageError(f"unknown `{option} {word}`", hint=f"one of {', '.join(known)}")
    require_data(request.columns, request.data)
    script = request.format == "torchscript"
    quantize, lowering = request.quantize, request.lowering
    if quantize is None:
        quantize = NONE.name if script else target.default_quantization
    if lowering is None and not script:
        lowering = target.default_lowering
    scheme = find_scheme(quantize)
    choice = choose_backend(target, scheme, lowering, script)
    if len(request.models) > 1 and not request.shared_backbone:
        raise UsageError(
            f"{len(request.models)} models given", hint="several models compile together with `--shared-backbone`"
        )
    runtime = request.runtime and choice.backend.takes_runtime and not target.is_host and target.has_native_runtime
    check_output(request.out)
    check_key(request)
    return Plan(target, scheme, choice, runtime)


def check_key(request: CompileRequest) -> None:
    """Refuse a key that can't be read before any work is done, not when the bundle is to be signed."""
    if request.sign is not None:
        read_private_key(request.sign)
