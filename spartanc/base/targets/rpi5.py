"""Raspberry Pi 5: BCM2712, four Cortex-A76, 64-bit Raspberry Pi OS; dot products and fp16."""

from spartanc.base.targets.aarch64 import BASE_FLAGS, LINEARS_REASON, PACKED_KEYS_UP_TO, RASPBERRY_PI_OS_GLIBC
from spartanc.base.targets.cpuinfo import CoreIdentity
from spartanc.base.targets.target import Cache, EncoderCycles, Target

RPI5 = Target(
    name="rpi5",
    title="Raspberry Pi 5 (Cortex-A76)",
    architecture="aarch64",
    cpu="cortex-a76",
    features=("asimd", "asimddp", "asimdhp"),
    base_flags=BASE_FLAGS,
    cores=4,
    clock_mhz=2400,
    cache=Cache(l1d=64 << 10, l2=512 << 10, l2_shared=False),
    qemu_cpu="cortex-a76",
    oldest_glibc=RASPBERRY_PI_OS_GLIBC,
    default_quantization="int8",
    peak_macs_per_cycle={"fp32": 8, "int8": 32},
    memory_gb_per_s=10.0,
    packed_keys_up_to=PACKED_KEYS_UP_TO,
    runs_under_qemu=True,
    linears="spartan",
    linears_reason=LINEARS_REASON["cortex-a76"],
    core=CoreIdentity(  # Raspberry Pi 5, Linux 6.6: MIDR 0x414fd0b1
        part=0xD0B,
        variant=4,
        revision=1,
        features="fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp",
    ),
    encoder_cycles=EncoderCycles(
        macs_per_cycle=31.9,
        attention_macs_per_cycle=15.9,
        of_unit=1.13,
        of_element=31.6,
        of_pair=0.0,  # the last layer has one query only, which makes up for them
        of_weight=0.044,
    ),
)
