"""The files that emulated boards show: fields as Linux prints them, one entry a core, what each target has."""

import re

import pytest

from spartanc.base.targets.catalogue import all_targets
from spartanc.base.targets.cpuinfo import CoreIdentity, board_files

EMULATED = [target for target in all_targets() if target.qemu_cpu is not None]
# MIDR_EL1 of each board, whose fields the four lines below are (Arm ARM D19.2.115).
SHIFTS = {"implementer": 24, "variant": 20, "part": 4, "revision": 0}
MIDR = {"rpi3": 0x410FD034, "rpi4": 0x410FD083, "rpi5": 0x414FD0B1}


def fields(text: str, name: str) -> list[str]:
    return re.findall(rf"^{name}\s*: (.+)$", text, re.MULTILINE)


@pytest.mark.parametrize("target", EMULATED, ids=lambda target: target.name)
def test_every_emulated_target_says_what_its_cores_are(target):
    assert target.core is not None
    assert set(target.features) <= set(target.core.features.split())


@pytest.mark.parametrize("target", [each for each in EMULATED if each.name in MIDR], ids=lambda target: target.name)
def test_cpuinfo_has_the_boards_own_midr(target):
    text = board_files(target.core, target.cores, target.clock_mhz)["proc/cpuinfo"]
    parts = [
        sum(int(fields(text, f"CPU {name}")[i], 0) << shift for name, shift in SHIFTS.items()) | 0xF << 16
        for i in range(target.cores)
    ]
    assert parts == [MIDR[target.name]] * target.cores


def test_cores_and_clock_are_in_sys():
    files = board_files(CoreIdentity(part=0xD05, variant=2, revision=0, features="fp asimd"), 4, 1500)
    assert fields(files["proc/cpuinfo"], "processor") == ["0", "1", "2", "3"]
    assert fields(files["proc/cpuinfo"], "Features") == ["fp asimd"] * 4
    assert files["sys/devices/system/cpu/present"] == "0-3\n"
    assert files["sys/devices/system/cpu/cpu3/cpufreq/cpuinfo_max_freq"] == "1500000\n"
    assert files["sys/devices/system/cpu/cpu2/topology/core_siblings_list"] == "0-3\n"


def test_one_core_is_no_range():
    files = board_files(CoreIdentity(part=0xD05, variant=0, revision=0, features="fp"), 1, 400)
    assert files["sys/devices/system/cpu/online"] == "0\n"
    assert files["sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_min_freq"] == "400000\n"
