"""Instructions of an emulated run: counted, the same every time, and more for more tokens."""

import shutil
import subprocess

import numpy as np
import pytest

from spartanc.runtime_py.bench import BenchPlan, bench_bundle
from spartanc.runtime_py.board_model import counting, tools
from spartanc.runtime_py.board_model.blocks import executed_instructions
from spartanc.runtime_py.devices.qemu import QemuDevice
from spartanc.runtime_py.setup_target import is_ready
from support.bundles import make_bundle

pytestmark = [
    pytest.mark.qemu,
    pytest.mark.skipif(not is_ready("rpi4"), reason="`spartanc setup rpi4` was not run"),
    pytest.mark.skipif(shutil.which(tools.EMULATOR) is None, reason="Debian's qemu-user is not installed"),
]


@pytest.fixture(scope="module")
def bundle(tiny, tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("count") / "bundle", tiny[0], target="rpi4")


def _counted(bundle, length):
    ids = np.full((1, length), 7, np.int64)
    return QemuDevice("rpi4").instructions_of_a_run(bundle, bundle / "model.pte", (ids, np.ones_like(ids)))


def test_more_tokens_take_more_instructions(bundle):
    short, long = _counted(bundle, 2), _counted(bundle, 24)
    assert short["cpu"] == "cortex-a72"
    assert (short["length"], long["length"]) == (2, 24)
    assert 1000 < short["instructions"] < long["instructions"] < 10_000_000


def test_the_plugin_counts_a_loop_exactly(tmp_path):
    compiler = shutil.which("aarch64-linux-gnu-gcc") or pytest.skip("no C cross compiler")
    source = tmp_path / "loop.c"
    # Five instructions a turn, in the code itself, so that no compiler changes their number.
    turn = "1: nop\\n nop\\n nop\\n subs %0, %0, #1\\n b.ne 1b"
    source.write_text(
        f'int main(int n, char **v) {{ long i = n * 100000L; __asm__ volatile("{turn}" : "+r"(i)); return 0; }}'
    )
    subprocess.run([compiler, "-O1", "-static", "-o", tmp_path / "loop", source], check=True)
    emulation = counting.Emulation("cortex-a72", tmp_path, ())
    counts = [executed_instructions(emulation.run([tmp_path / "loop", *words])) for words in ([], ["x"])]
    assert counts[1] - counts[0] == pytest.approx(500_000, abs=200)


def test_bench_gives_the_count_under_qemu_alone(bundle):
    plan = BenchPlan(length=8, threads=1, seconds=0.2, loads=1)
    found = bench_bundle(bundle, device="qemu", plan=plan).instructions
    assert found["instructions"] > 1000
    assert found["length"] == 8
    assert bench_bundle(bundle, plan=plan).instructions is None


def test_without_the_emulator_bench_says_what_was_left_out(bundle, monkeypatch):
    monkeypatch.setattr(counting, "EMULATOR", "no-such-emulator")
    monkeypatch.setattr(tools, "EMULATOR", "no-such-emulator")
    plan = BenchPlan(length=8, threads=1, seconds=0.2, loads=1)
    result = bench_bundle(bundle, device="qemu", plan=plan).as_json()
    assert result["instructions"] is None
    assert any("qemu-user" in reason for reason in result["skipped_checks"])
