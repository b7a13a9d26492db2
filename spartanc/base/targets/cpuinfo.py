"""What a board's kernel says of its cores: libraries choose kernels by it.

XNNPACK, KleidiAI and ONNX Runtime read /proc/cpuinfo and /sys/devices/system/cpu: the part number decides which of
several kernels of one instruction set they take.
"""

from __future__ import annotations

from dataclasses import dataclass

ARM = 0x41


@dataclass(frozen=True)
class CoreIdentity:
    """Fields of MIDR_EL1, and the line of features that Linux shows in /proc/cpuinfo."""

    part: int
    variant: int
    revision: int
    features: str
    implementer: int = ARM


def board_files(core: CoreIdentity, cores: int, clock_mhz: int) -> dict[str, str]:
    """Text of /proc/cpuinfo and of what /sys has, by path below `/`, for a board of `cores` cores at `clock_mhz`."""
    files = {"proc/cpuinfo": "".join(_cpuinfo(core, number) for number in range(cores))}
    everyone = f"0-{cores - 1}" if cores > 1 else "0"
    system = "sys/devices/system/cpu"
    files |= {f"{system}/{name}": everyone for name in ("possible", "present", "online")}
    files[f"{system}/kernel_max"] = "255"
    for number in range(cores):
        topology, frequency = f"{system}/cpu{number}/topology", f"{system}/cpu{number}/cpufreq"
        files |= {
            f"{frequency}/cpuinfo_max_freq": str(clock_mhz * 1000),
            f"{frequency}/cpuinfo_min_freq": str(min(600, clock_mhz) * 1000),
            f"{topology}/physical_package_id": "0",
            f"{topology}/core_id": str(number),
            f"{topology}/core_siblings_list": everyone,
            f"{topology}/package_cpus_list": everyone,
            f"{topology}/thread_siblings_list": str(number),
            f"{topology}/core_cpus_list": str(number),
        }
    return {path: text if text.endswith("\n") else text + "\n" for path, text in files.items()}


def _cpuinfo(core: CoreIdentity, number: int) -> str:
    return (
        f"processor\t: {number}\n"
        "BogoMIPS\t: 108.00\n"
        f"Features\t: {core.features}\n"
        f"CPU implementer\t: {core.implementer:#04x}\n"
        "CPU architecture: 8\n"
        f"CPU variant\t: {core.variant:#x}\n"
        f"CPU part\t: {core.part:#05x}\n"
        f"CPU revision\t: {core.revision}\n\n"
    )
