"""What emulated programs see: the board's /proc/cpuinfo and /sys, and with them the kernels that it would choose."""

import shutil
import subprocess

import numpy as np
import pytest

from spartanc.base.targets.catalogue import find_target
from spartanc.base.toolchain import AARCH64
from spartanc.runtime_py.board_model.counting import Emulation
from spartanc.runtime_py.board_model.tools import missing_to_count
from spartanc.runtime_py.build import COMMAND, build_runtime
from spartanc.runtime_py.devices import board_root as module
from spartanc.runtime_py.devices.board_root import board_root
from spartanc.runtime_py.devices.qemu import QemuDevice
from spartanc.runtime_py.setup_target import is_ready

pytestmark = [
    pytest.mark.qemu,
    pytest.mark.skipif(not is_ready("rpi4"), reason="`spartanc setup rpi4` was not run"),
    pytest.mark.skipif(shutil.which("qemu-aarch64-static") is None, reason="qemu-user-static is missing"),
]

SHOW = """
#include <stdio.h>
#include <unistd.h>
int main(int n, char **v) {
  char text[4096];
  for (int i = 1; i < n; ++i) {
    FILE *file = fopen(v[i], "r");
    if (!file) return 1;
    fwrite(text, 1, fread(text, 1, sizeof text, file), stdout);
  }
  return 0;
}
"""


@pytest.fixture(scope="module")
def show(tmp_path_factory):
    """A program for aarch64 that prints files."""
    compiler = shutil.which("aarch64-linux-gnu-gcc") or pytest.skip("no C cross compiler")
    folder = tmp_path_factory.mktemp("show")
    (folder / "show.c").write_text(SHOW)
    subprocess.run([compiler, "-o", folder / "show", folder / "show.c"], check=True)
    return folder / "show"


@pytest.mark.parametrize(("board", "part"), [("rpi3", "0xd03"), ("rpi4", "0xd08"), ("rpi5", "0xd0b")])
def test_programs_read_the_boards_files_and_not_this_machines(show, board, part):
    words = [show, "/proc/cpuinfo", "/sys/devices/system/cpu/present", "/sys/devices/system/cpu/kernel_max"]
    qemu = ["qemu-aarch64-static", "-L", QemuDevice(board).root()]
    said = subprocess.run([*qemu, *words], capture_output=True, text=True, check=True).stdout
    assert said.count(f"CPU part\t: {part}\n") == 4
    assert said.endswith("0-3\n255\n")


def test_a_file_that_no_board_has_of_its_own_is_this_machines(show):
    said = subprocess.run(
        ["qemu-aarch64-static", "-L", QemuDevice("rpi4").root(), show, "/etc/hostname"], capture_output=True, text=True
    )
    assert said.returncode == 0


def test_two_boards_of_one_instruction_set_choose_kernels_of_their_own(tiny):
    if missing_to_count():
        pytest.skip(f"missing: {missing_to_count()}")
    ids = np.full((1, 24), 7, np.int64)
    executed = {}
    for board in ("rpi3", "rpi4"):
        device = QemuDevice(board)
        # One processor for both, so that only what the boards' files say can tell them apart.
        counts = Emulation("cortex-a72", device.root(), ()).run_warm(
            build_runtime("rpi4") / COMMAND, tiny[0], (ids, np.ones_like(ids))
        )
        executed[board] = {place.offset for place in counts if place.file.endswith("libexecutorch_backend_xnnpack.so")}
    assert executed["rpi3"] - executed["rpi4"]
    assert executed["rpi4"] - executed["rpi3"]


def test_the_folder_is_made_once_and_is_another_for_other_facts(tmp_path, monkeypatch):
    monkeypatch.setenv("SPARTANC_CACHE", str(tmp_path))
    first, second = board_root(find_target("rpi3")), board_root(find_target("rpi4"))
    assert first != second
    assert first.stat().st_mtime_ns == board_root(find_target("rpi3")).stat().st_mtime_ns
    assert sorted(each.name for each in (tmp_path / "boards").iterdir()) == sorted([first.name, second.name])
    assert (first / "lib").resolve() == (AARCH64.sysroot / "lib").resolve()


def test_nothing_is_left_behind_when_the_folder_can_not_be_filled(tmp_path, monkeypatch):
    monkeypatch.setenv("SPARTANC_CACHE", str(tmp_path))

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "_fill", fail)
    with pytest.raises(OSError, match="No space"):
        board_root(find_target("rpi3"))
    assert list((tmp_path / "boards").iterdir()) == []
