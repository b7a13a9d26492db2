"""What spartanc knows about a device, as data.

A target names no file of this machine and needs neither torch nor a compiler. The pipeline, the native
build, the emulated device and the estimates of `spartanc bench` read it.
"""

from __future__ import annotations

from dataclasses import dataclass

from spartanc.base.schemes.catalogue import QUANTIZATIONS
from spartanc.base.targets.cpuinfo import CoreIdentity
from spartanc.base.toolchain import NATIVE, TOOLCHAINS, Toolchain

ARCHITECTURES = (NATIVE, *TOOLCHAINS)
LIBRARIES = ("executorch-wheel", "android")
LINEARS = ("xnnpack", "spartan")


@dataclass(frozen=True)
class Cache:
    """Sizes in bytes; `l2_shared` says that all cores share one L2."""

    l1d: int
    l2: int
    l2_shared: bool


@dataclass(frozen=True)
class EncoderCycles:
    """What our int8 programs of encoders reach on one core, by the board model (docs/board-model.md).

    Fitted to its figures for 6 layers of 384 with 1,536 and 768 units at 16 and 128 tokens, once multiply-adds a cycle
    were read off its profile.
    macs_per_cycle: multiply-adds of linears a cycle; attention_macs_per_cycle: of attention's two products.
    of_unit: cycles of a feed-forward's unit a token, beside its products; of_element: of an element of the hidden state
    a token and layer, memories among them; of_pair: of a pair of tokens a head, beside attention's products;
    of_weight: of a weight a text, for its way from memory.
    """

    macs_per_cycle: float
    attention_macs_per_cycle: float
    of_unit: float
    of_element: float
    of_pair: float
    of_weight: float


@dataclass(frozen=True)
class Target:
    """A device that spartanc compiles for.

    `features` are the vector features that kernels may choose at run time, spelt as in Linux' /proc/cpuinfo.
    `base_flags` are what every source file is compiled with, so that one library serves each board of an
    architecture and nothing outside a kernel chosen at run time needs more than the base instruction set.
    `peak_macs_per_cycle` (fp32, int8) count multiply-adds of one core; `memory_gb_per_s` is the read
    bandwidth of the whole chip. Both feed estimates only. `linears` says whose kernels int8 linears are compiled for,
    and `linears_reason` why.
    `core` is what the board's kernel says of its cores, which emulation shows to programs.
    `encoder_cycles` says what narrower encoders save; None where nobody found out.
    `packed_keys_up_to`, by quantisation: up to how many times the chosen cells a memory's cells may be for one blocked
    product over all keys to be faster than reading the chosen parents' keys alone (M / (K C), which is E / K).
    """

    name: str
    title: str
    architecture: str
    cpu: str
    features: tuple[str, ...]
    base_flags: tuple[str, ...]
    cores: int
    clock_mhz: int
    cache: Cache
    qemu_cpu: str | None
    oldest_glibc: tuple[int, int] | None
    default_quantization: str
    peak_macs_per_cycle: dict[str, float]
    memory_gb_per_s: float
    packed_keys_up_to: dict[str, float]
    runs_under_qemu: bool = False
    default_lowering: str = "fused"
    libraries: str = "executorch-wheel"
    linears: str = "xnnpack"
    linears_reason: str = "XNNPACK's int8 kernels are as fast on this processor"
    core: CoreIdentity | None = None
    encoder_cycles: EncoderCycles | None = None

    def __post_init__(self) -> None:
        if self.architecture not in ARCHITECTURES:
            raise ValueError(f"architecture must be one of {ARCHITECTURES}, got `{self.architecture}`")
        if self.default_quantization not in QUANTIZATIONS:
            raise ValueError(f"default_quantization must be one of {QUANTIZATIONS}")
        if self.libraries not in LIBRARIES:
            raise ValueError(f"libraries must be one of {LIBRARIES}, got `{self.libraries}`")
        if self.linears not in LINEARS:
            raise ValueError(f"linears must be one of {LINEARS}, got `{self.linears}`")
        if self.cores < 1 or self.clock_mhz < 1:
            raise ValueError("cores and clock_mhz must be at least 1")
        if set(self.packed_keys_up_to) != set(QUANTIZATIONS):
            raise ValueError(f"packed_keys_up_to must have {QUANTIZATIONS}")
        if self.runs_under_qemu and self.qemu_cpu is None:
            raise ValueError(f"target `{self.name}` runs under qemu but names no qemu_cpu")
        if self.runs_under_qemu and self.core is None:
            raise ValueError(f"target `{self.name}` runs under qemu but says nothing of its core")

    @property
    def is_host(self) -> bool:
        return self.architecture == NATIVE

    @property
    def toolchain(self) -> Toolchain | None:
        """What builds and emulates programs for it; None for this machine."""
        return TOOLCHAINS.get(self.architecture)

    @property
    def has_native_runtime(self) -> bool:
        """Whether the native session and command can be built for this target from the executorch wheel."""
        return self.libraries == "executorch-wheel"
