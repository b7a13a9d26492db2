import subprocess
import sys

import pytest

from spartanc.base.targets.catalogue import UnknownTarget, all_targets, find_target


def test_the_promised_targets_are_there():
    assert {"host", "rpi3", "rpi4", "rpi5", "android-arm64"} <= {target.name for target in all_targets()}


def test_an_unknown_target_is_exit_5_and_names_the_known_ones():
    with pytest.raises(UnknownTarget) as error:
        find_target("rpi9")
    assert error.value.exit_code == 5
    assert "rpi9" in error.value.message
    assert "rpi4" in error.value.hint


def test_a_target_is_found_under_its_own_name():
    assert all(find_target(target.name) == target for target in all_targets())


def test_host_defaults_to_full_precision():
    assert find_target("host").default_quantization == "none"


def test_one_set_of_flags_serves_every_arm_board():
    boards = [target for target in all_targets() if target.architecture == "aarch64"]
    assert len(boards) >= 4
    assert {target.base_flags for target in boards} == {("-march=armv8-a",)}


def test_targets_are_read_without_torch():
    code = (
        "import sys; from spartanc.base.targets.catalogue import find_target; find_target('rpi4'); "
        "assert not {'torch', 'executorch'} & set(sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
