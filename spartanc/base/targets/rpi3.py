"""Raspberry Pi 3 Model B: BCM2837, four Cortex-A53, 64-bit Raspberry Pi OS."""

from spartanc.base.targets.aarch64 import BASE_FLAGS, LINEARS_REASON, PACKED_KEYS_UP_TO, RASPBERRY_PI_OS_GLIBC
from spartanc.base.targets.cpuinfo import CoreIdentity
from spartanc.base.targets.target import Cache, EncoderCycles, Target

RPI3 = Target(
    name="rpi3",
    title="Raspberry Pi 3 (Cortex-A53)",
    architecture="aarch64",
    cpu="cortex-a53",
    features=("asimd",),
    base_flags=BASE_FLAGS,
    cores=4,
    clock_mhz=1200,
    cache=Cache(l1d=32 << 10, l2=512 << 10, l2_shared=True),
    qemu_cpu="cortex-a53",
    oldest_glibc=RASPBERRY_PI_OS_GLIBC,
    default_quantization="int8",
    peak_macs_per_cycle={"fp32": 4, "int8": 8},
    memory_gb_per_s=2.0,
    packed_keys_up_to=PACKED_KEYS_UP_TO,
    runs_under_qemu=True,
    linears="spartan",
    linears_reason=LINEARS_REASON["cortex-a53"],
    core=CoreIdentity(  # Raspberry Pi 3B, Linux 6.1: MIDR 0x410fd034
        part=0xD03,
        variant=0,
        revision=4,
        features="fp asimd evtstrm crc32 cpuid",
    ),
    encoder_cycles=EncoderCycles(
        macs_per_cycle=3.5,
        attention_macs_per_cycle=4.0,
        of_unit=4.31,
        of_element=152.9,
        of_pair=29.06,
        of_weight=0.155,
    ),
)
