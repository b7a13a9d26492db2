"""Commands on a whole emulated board over ssh: kernel, sshd, 1 GB."""

import numpy as np

from spartanc.compiler.run import run_bundle
from spartanc.compiler.samples import random_rows
from spartanc.compiler.verify import VerifyRequest, verify_bundle
from spartanc.runtime_py.bench import BenchPlan, bench_bundle
from spartanc.runtime_py.bundle import open_bundle
from spartanc.runtime_py.devices.catalogue import find_device


def test_a_text_is_answered_as_under_qemu_user_and_a_second_run_sends_nothing(board, compiled, sent):
    board.run("rm -rf .cache")  # tests before this one may have sent the same files
    text = {"text": "where is the card"}
    expected = run_bundle(compiled[2], **text, device="qemu")
    assert run_bundle(compiled[2], **text, device=board.device) == expected
    assert {"spartan", "model.pte", "rows-0.safetensors"} <= set(sent)
    sent.clear()
    assert run_bundle(compiled[2], **text, device=board.device) == expected
    assert sent == []


def test_50_rows_are_answered_as_eager_does(board, compiled):
    model, rows, bundle = compiled
    found = verify_bundle(VerifyRequest(bundle=bundle, model=model, data=rows, limit=50, device=board.device))
    assert found.passed
    assert found.samples == 50
    assert found.label_agreement == 1


def test_int8_logits_are_the_very_ones_of_qemu_user(board, int8):
    """The same processor, emulated with a kernel of its own and without."""
    program = open_bundle(int8).program
    rows = random_rows(64, 16, 20)
    logits = [
        np.stack(find_device(name, "rpi4").run(int8, program, rows, threads=1)) for name in ("qemu", board.device)
    ]
    assert np.abs(logits[0]).max() > 0.1
    np.testing.assert_array_equal(*logits)


def test_bench_says_that_the_machine_is_emulated(board, compiled):
    found = bench_bundle(compiled[2], device=board.device, plan=BenchPlan(seconds=2, loads=1, length=16))
    assert found.emulated
    assert not found.trustworthy
    assert "linux,dummy-virt" in found.machine["hardware"]
    assert any("emulated: the machine calls itself `linux,dummy-virt`" in reason for reason in found.reasons)
