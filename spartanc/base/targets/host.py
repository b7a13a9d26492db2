"""The machine that spartanc runs on."""

from __future__ import annotations

import os
import platform

from spartanc.base.targets.aarch64 import PACKED_KEYS_UP_TO
from spartanc.base.targets.target import Cache, Target

_KNOWN_FEATURES = (
    "avx2",
    "fma",
    "avx_vnni",
    "avx512f",
    "avx512_vnni",
    "amx_int8",
    "asimd",
    "asimddp",
    "asimdhp",
    "i8mm",
)
# Measured with memory_lookup_bench on Sapphire Rapids: H=768, K=8, three children, E from 16 to 64, 64 positions.
_PACKED_UP_TO = {
    "avx512_vnni": {"none": 4.5, "int8": 3.0, "int4": 9.0, "int4-memories": 9.0},
    "avx2": {"none": 3.0, "int8": 1.5, "int4": 3.0, "int4-memories": 3.0},
}
_TILES = "XNNPACK does not use this processor's tile registers (amx_int8)"


def _cpu_features() -> tuple[str, ...]:
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as cpuinfo:
            lines = [line for line in cpuinfo if line.lower().startswith(("flags", "features"))]
    except OSError:
        return ()
    present = set(lines[0].partition(":")[2].split()) if lines else set()
    return tuple(feature for feature in _KNOWN_FEATURES if feature in present)


def _cache_bytes(name: str, otherwise: int) -> int:
    try:
        value = os.sysconf(name)
    except (OSError, ValueError):
        return otherwise
    return value if value > 0 else otherwise


def host() -> Target:
    machine = platform.machine()
    features = _cpu_features()
    return Target(
        name="host",
        title="this machine",
        architecture="native",
        cpu=machine,
        features=features,
        base_flags=("-march=armv8-a",) if machine == "aarch64" else ("-march=x86-64",),
        cores=len(os.sched_getaffinity(0)),
        clock_mhz=2500,
        cache=Cache(
            l1d=_cache_bytes("SC_LEVEL1_DCACHE_SIZE", 32 << 10),
            l2=_cache_bytes("SC_LEVEL2_CACHE_SIZE", 1 << 20),
            l2_shared=False,
        ),
        qemu_cpu=None,
        oldest_glibc=None,
        default_quantization="none",
        peak_macs_per_cycle={"fp32": 16, "int8": 64},
        memory_gb_per_s=20.0,
        packed_keys_up_to=next((_PACKED_UP_TO[each] for each in _PACKED_UP_TO if each in features), PACKED_KEYS_UP_TO),
        # XNNPACK has no kernels for tile registers, which are worth a factor of ten over its dot products.
        linears="spartan" if "amx_int8" in features else "xnnpack",
        linears_reason=_TILES if "amx_int8" in features else Target.linears_reason,
    )
