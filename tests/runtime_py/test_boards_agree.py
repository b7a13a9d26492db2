"""One runtime on every board's processor: the same bundle, the same files, logits within rounding of each other."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from spartanc.base.targets.catalogue import all_targets
from spartanc.runtime_py.bench import BenchPlan, bench_bundle
from spartanc.runtime_py.bundle import open_bundle
from spartanc.runtime_py.devices.qemu import QemuDevice
from spartanc.runtime_py.setup_target import is_ready
from support.cli import spartanc_json

CHECKPOINT = Path(__file__).parents[1] / "golden" / "roberta-v1"
BOARDS = [target for target in all_targets() if target.runs_under_qemu]
# fp32: the order of sums differs between kernels, by a few units in the last place of each of some hundred terms.
TOLERANCE = 1e-5

pytestmark = [
    pytest.mark.qemu,
    pytest.mark.skipif(not is_ready("rpi4"), reason="`spartanc setup rpi4` was not run"),
]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    out = tmp_path_factory.mktemp("golden") / "bundle"
    spartanc_json("compile", CHECKPOINT, "--target", "rpi4", "--out", out, "--quantize", "none", "--max-length", 64)
    return open_bundle(out)


def test_the_same_runtime_answers_on_every_board(bundle):
    recorded = load_file(CHECKPOINT / "expected.safetensors")
    rows = [
        (ids[None], mask[None]) for ids, mask in zip(recorded["input_ids"], recorded["attention_mask"], strict=True)
    ]
    assert np.abs(recorded["logits"]).max() > 0.01
    logits = {board.qemu_cpu: np.stack(QemuDevice(board).run(bundle.path, bundle.program, rows)) for board in BOARDS}
    assert set(logits) >= {"cortex-a53", "cortex-a72", "cortex-a76"}
    for cpu, found in logits.items():
        assert np.abs(found - recorded["logits"]).max() < 1e-4, cpu
        assert np.abs(found - logits["cortex-a72"]).max() < TOLERANCE, cpu


def test_the_profile_names_the_memory_once_a_layer(bundle):
    plan = BenchPlan(length=16, threads=1, seconds=1.0, loads=1, operators=True)
    rows = bench_bundle(bundle.path, plan=plan).operators
    memory = [row for row in rows if row["name"].startswith("spartan::memory_lookup")]
    assert sum(row["calls"] for row in memory) == 2
    assert all(row["ms"] > 0 for row in memory)
    assert sum(row["share"] for row in rows) == pytest.approx(1, abs=0.05)


def test_threads_change_nothing_but_rounding(bundle):
    ids = np.arange(5, 37)[None]
    rows = [(ids, np.ones_like(ids))]
    one, four = (QemuDevice("rpi4").run(bundle.path, bundle.program, rows, threads=count)[0] for count in (1, 4))
    assert np.abs(one - four).max() < TOLERANCE
