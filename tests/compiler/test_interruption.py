"""A compile that is stopped in the middle, or runs out of disk, leaves nothing behind and says so."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from spartanc.models.checkpoint import save_model
from support.models import tiny_model


def _compile(model, out, **options):
    command = [sys.executable, "-u", "-m", "spartanc", "compile", str(model), "--target", "host", "--out", str(out)]
    return subprocess.Popen(
        [*command, "--max-length", "16"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Tests that run in a shell's background ignore it, and a process does what its parent did.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        **options,
    )


STAGES = ["load", "capture", "passes", "final passes", "lower", "emit", "prove"]
SHORT = {("capture", signal.SIGINT), ("lower", signal.SIGTERM), ("emit", signal.SIGINT), ("prove", signal.SIGTERM)}


@pytest.mark.parametrize(
    ("last_words", "kind"),
    [
        pytest.param(stage, kind, marks=() if (stage, kind) in SHORT else pytest.mark.long)
        for stage in STAGES
        for kind in (signal.SIGINT, signal.SIGTERM)
    ],
)
def test_a_signal_in_the_middle_leaves_nothing(tmp_path, kind, last_words):
    save_model(tiny_model(layers=1), tmp_path / "model.pt")
    process = _compile(tmp_path / "model.pt", tmp_path / "deep" / "out")
    watchdog = threading.Timer(240, process.kill)
    watchdog.start()
    try:
        said = ""
        for line in process.stderr:
            said += line
            if last_words in line:
                process.send_signal(kind)
                break
        rest = process.communicate()[1]
    finally:
        watchdog.cancel()
    assert process.returncode not in (0, None), said + rest
    assert "Traceback" not in said + rest
    assert sorted(os.listdir(tmp_path)) == ["model.pt"]


def test_a_full_disk_is_one_error_and_leaves_nothing(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    save_model(tiny_model(layers=1), tmp_path / "model.pt")
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32k", "tmpfs", disk], capture_output=True, text=True)
    if mounted.returncode != 0:
        pytest.skip(f"no small disk can be mounted here: {mounted.stderr.strip()}")
    try:
        process = _compile(tmp_path / "model.pt", disk / "out")
        said = process.communicate(timeout=300)[1]
        assert process.returncode == 4, said
        assert said.count("error: ") == 1
        assert "no space left" in said
        assert os.listdir(disk) == []
    finally:
        subprocess.run(["umount", disk], check=True)
