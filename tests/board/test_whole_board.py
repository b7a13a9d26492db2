"""Commands on a whole emulated board over ssh: kernel, sshd, 1 GB."""

import json
import shutil
import threading
import time

import numpy as np
import pytest

from spartanc.compiler.artifact import replaced_whole, write_manifest
from spartanc.compiler.run import run_bundle
from spartanc.compiler.samples import random_rows
from spartanc.compiler.verify import VerifyRequest, verify_bundle
from spartanc.runtime_py.bench import BenchPlan, bench_bundle
from spartanc.runtime_py.bundle import open_bundle
from spartanc.runtime_py.devices.catalogue import find_device
from spartanc.runtime_py.devices.device import DeviceError
from spartanc.runtime_py.signature import write_key_pair


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


def test_every_task_of_a_fleet_is_answered_as_under_qemu_user(board, fleet):
    for task in open_bundle(fleet).manifest["fleet"]["tasks"]:
        asked = {"text": "where is the card", "task": task}
        assert run_bundle(fleet, **asked, device=board.device) == run_bundle(fleet, **asked, device="qemu")


def test_run_py_answers_with_debians_python_and_numpy(board, compiled):
    board.send_folder(compiled[2], "bundle")
    text = "where is the card"
    said = json.loads(board.run(f"python3 bundle/runtime/run.py --text '{text}'", seconds=300))
    [expected] = run_bundle(compiled[2], text=text, device="qemu")
    assert said[0]["label"] == expected["label"]
    assert said[0]["scores"] == pytest.approx(expected["scores"], abs=1e-6)


def test_signatures_are_checked_with_debians_libraries(board, compiled, tmp_path):
    """By libcrypto in the command, by `cryptography` in Python; a changed file and another key are refused."""
    write_key_pair(tmp_path / "key")
    write_key_pair(tmp_path / "other")
    shutil.copytree(compiled[2], tmp_path / "signed/bundle")
    with replaced_whole(tmp_path / "signed/bundle") as folder:
        write_manifest(folder, open_bundle(compiled[2]).manifest, tmp_path / "key")
    for name in ("key.pub", "other.pub"):
        shutil.copy(tmp_path / name, tmp_path / "signed")
    board.send_folder(tmp_path / "signed", "signed")
    native = "signed/bundle/runtime/spartan check signed/bundle --require-signature signed/{key}.pub 2>&1"
    python = "python3 signed/bundle/runtime/run.py --text card --require-signature signed/{key}.pub 2>&1"
    for command in (native, python):
        board.run(command.format(key="key"), seconds=300)
        refused = board.run(command.format(key="other") + "; echo exit $?", seconds=300)
        assert "exit 2" in refused, refused
        assert "sign" in refused
    board.run("sed -i 's/rpi4/rpi3/' signed/bundle/manifest.json")
    for command in (native, python):
        assert "exit 2" in board.run(command.format(key="key") + "; echo exit $?", seconds=300)


def test_a_connection_that_drops_is_an_error_by_its_name_and_leaves_no_program(board, compiled):
    bundle, errors = open_bundle(compiled[2]), []
    rows = random_rows(64, 16, 20) * 500

    def run():
        try:
            find_device(board.device, "rpi4").run(compiled[2], bundle.program, rows, threads=1)
        except DeviceError as error:
            errors.append(str(error))

    client = threading.Thread(target=run)
    client.start()
    while not board.run("busybox pidof spartan || true").strip():
        assert client.is_alive()
    # Every session but the listener and the one that says this.
    board.run("for p in $(busybox pidof sshd); do [ $p = $PPID ] || [ $p = $(cat /run/sshd.pid) ] || kill -9 $p; done")
    client.join(60)
    assert len(errors) == 1
    assert "the connection was lost" in errors[0]
    end = time.monotonic() + 30
    while board.run("busybox pidof spartan || true").strip():
        assert time.monotonic() < end
    assert run_bundle(compiled[2], text="card", device=board.device)


def test_a_hot_throttled_board_is_told(board, compiled):
    """With the files that a Raspberry Pi's kernel shows, which this machine has not: first without, then with them."""
    plan = BenchPlan(seconds=1, loads=1, length=16)
    before = bench_bundle(compiled[2], device=board.device, plan=plan)
    assert before.machine["temperatures_c"]["after"] == []
    assert not any("throttled" in reason for reason in before.reasons)
    cpu, thermal, firmware = "/sys/devices/system/cpu/cpu0", "/sys/class/thermal", "/sys/devices/platform"
    board.run(f"for folder in {cpu} {thermal} {firmware}; do mount -t tmpfs tmpfs $folder; done")
    try:
        board.run(f"mkdir {cpu}/cpufreq && cd {cpu}/cpufreq && echo 600000 >scaling_cur_freq")
        board.run(f"echo 1500000 >{cpu}/cpufreq/cpuinfo_max_freq")
        board.run(f"mkdir {thermal}/thermal_zone0 && echo 84500 >{thermal}/thermal_zone0/temp")
        board.run(f"mkdir -p {firmware}/soc/soc:firmware && echo e0008 >{firmware}/soc/soc:firmware/get_throttled")
        found = bench_bundle(compiled[2], device=board.device, plan=plan)
    finally:
        board.run(f"for folder in {cpu} {thermal} {firmware}; do umount -l $folder; done")
    assert found.machine["temperatures_c"]["after"] == [84.5]
    assert "throttled: a processor ended at 600 of 1500 MHz" in found.reasons
    assert "throttled: the firmware says so (bits 0xe0008)" in found.reasons
    assert not found.trustworthy
