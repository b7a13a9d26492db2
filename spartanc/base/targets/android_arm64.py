"""64-bit Arm phones from Android 8 on.

Their C library is bionic, so the executorch wheel's libraries, built for glibc, do not serve here: a bundle
for this target carries the program, and the app brings the runtime.
"""

from spartanc.base.targets.aarch64 import BASE_FLAGS, PACKED_KEYS_UP_TO
from spartanc.base.targets.cpuinfo import CoreIdentity
from spartanc.base.targets.target import Cache, Target

ANDROID_ARM64 = Target(
    name="android-arm64",
    title="Android, 64-bit Arm",
    architecture="aarch64",
    cpu="armv8-a",
    features=("asimd", "asimddp"),
    base_flags=BASE_FLAGS,
    cores=8,
    clock_mhz=2000,
    cache=Cache(l1d=32 << 10, l2=256 << 10, l2_shared=False),
    qemu_cpu="cortex-a76",
    oldest_glibc=None,
    default_quantization="int8",
    peak_macs_per_cycle={"fp32": 8, "int8": 32},
    memory_gb_per_s=10.0,
    packed_keys_up_to=PACKED_KEYS_UP_TO,
    libraries="android",
    core=CoreIdentity(  # a Cortex-A76, as qemu_cpu is; phones differ
        part=0xD0B,
        variant=3,
        revision=0,
        features="fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp",
    ),
    default_lowering="portable",  # the stock archive of the runtime takes no operator of ours
)
