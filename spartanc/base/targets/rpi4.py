"""Raspberry Pi 4 Model B: BCM2711, four Cortex-A72, 64-bit Raspberry Pi OS; no crypto, no dot products."""

from spartanc.base.targets.aarch64 import BASE_FLAGS, LINEARS_REASON, PACKED_KEYS_UP_TO, RASPBERRY_PI_OS_GLIBC
from spartanc.base.targets.cpuinfo import CoreIdentity
from spartanc.base.targets.target import Cache, EncoderCycles, Target

RPI4 = Target(
    name="rpi4",
    title="Raspberry Pi 4 (Cortex-A72)",
    architecture="aarch64",
    cpu="cortex-a72",
    features=("asimd",),
    base_flags=BASE_FLAGS,
    cores=4,
    clock_mhz=1500,
    cache=Cache(l1d=32 << 10, l2=1 << 20, l2_shared=True),
    qemu_cpu="cortex-a72",
    oldest_glibc=RASPBERRY_PI_OS_GLIBC,
    default_quantization="int8",
    peak_macs_per_cycle={"fp32": 4, "int8": 8},
    memory_gb_per_s=4.0,
    packed_keys_up_to=PACKED_KEYS_UP_TO,
    runs_under_qemu=True,
    linears="spartan",
    linears_reason=LINEARS_REASON["cortex-a72"],
    core=CoreIdentity(  # Raspberry Pi 4B, Linux 6.1: MIDR 0x410fd083
        part=0xD08,
        variant=0,
        revision=3,
        features="fp asimd evtstrm crc32 cpuid",
    ),
    encoder_cycles=EncoderCycles(
        macs_per_cycle=7.9,
        attention_macs_per_cycle=3.8,
        of_unit=1.18,
        of_element=54.9,
        of_pair=4.90,
        of_weight=0.473,
    ),
)
