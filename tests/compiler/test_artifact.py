"""A bundle is written whole or not at all."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from spartanc.compiler.artifact import check_output, check_replaceable, whole_or_nothing
from spartanc.errors import CompileError, UsageError
from spartanc.runtime_py.bundle import open_bundle
from support.artifacts import write_bundle


def test_an_empty_directory_becomes_the_bundle(tmp_path):
    out = tmp_path / "empty"
    out.mkdir()
    assert open_bundle(write_bundle(out)).path == out
    assert sorted(os.listdir(tmp_path)) == ["empty"]


def test_a_directory_with_anything_in_it_is_left_alone(tmp_path):
    (tmp_path / "mine").write_text("keep")
    with pytest.raises(UsageError, match="not empty"):
        check_output(tmp_path)
    assert (tmp_path / "mine").read_text() == "keep"


def test_a_file_in_the_place_of_the_output_is_refused(tmp_path):
    (tmp_path / "file").write_text("keep")
    with pytest.raises(UsageError, match="not a directory"):
        check_output(tmp_path / "file")


@pytest.mark.parametrize("error", [RuntimeError("stage"), KeyboardInterrupt(), SystemExit(1)])
def test_whatever_ends_the_block_leaves_nothing_behind(tmp_path, error):
    with pytest.raises(type(error)), whole_or_nothing(tmp_path / "a" / "b" / "out") as directory:
        (directory / "model.pte").write_bytes(b"half")
        raise error
    assert os.listdir(tmp_path) == []


def test_a_full_disk_is_one_clear_error(tmp_path):
    with pytest.raises(CompileError, match="no space left") as caught, whole_or_nothing(tmp_path / "out"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert caught.value.exit_code == 4
    assert os.listdir(tmp_path) == []


def test_termination_cleans_up_as_an_interrupt_does(tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), whole_or_nothing(tmp_path / "out") as directory:
        (directory / "half").write_text("x")
        os.kill(os.getpid(), signal.SIGTERM)
    assert os.listdir(tmp_path) == []
    assert signal.getsignal(signal.SIGTERM) is before


def test_an_output_that_another_program_fills_meanwhile_is_left_alone(tmp_path):
    out = tmp_path / "out"
    with pytest.raises(UsageError, match="meanwhile"), whole_or_nothing(out) as directory:
        (directory / "ours").write_text("x")
        out.mkdir()
        (out / "theirs").write_text("y")
    assert os.listdir(out) == ["theirs"]
    assert os.listdir(tmp_path) == ["out"]


def _mounted(folder, *options):
    done = subprocess.run(["mount", *options, folder], capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")


def test_a_mount_point_is_refused_before_any_work(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    _mounted(out, "-t", "tmpfs", "tmpfs")
    try:
        for check in (check_output, check_replaceable):
            with pytest.raises(UsageError, match="mount point") as caught:
                check(out)
            assert caught.value.exit_code == 2
            assert str(out / "bundle") in caught.value.hint
    finally:
        subprocess.run(["umount", out], check=True)


def test_a_folder_of_the_same_disk_that_is_mounted_is_wrong_use_too(tmp_path):
    out, folder = tmp_path / "out", tmp_path / "folder"
    out.mkdir()
    folder.mkdir()
    _mounted(out, "--bind", folder)
    try:
        with pytest.raises(UsageError, match="mount point"):
            write_bundle(out)
    finally:
        subprocess.run(["umount", out], check=True)
    assert sorted(os.listdir(tmp_path)) == ["folder", "out"]


@pytest.mark.parametrize("out", [".", "../here"])
def test_the_current_directory_is_not_replaced_under_whoever_works_there(tmp_path, monkeypatch, out):
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    with pytest.raises(UsageError, match="current directory"):
        check_output(Path(out))


def test_an_output_in_the_current_directory_is_written_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert open_bundle(write_bundle(Path("bundle"))).path.resolve() == tmp_path / "bundle"


@pytest.mark.parametrize("mode", [0o555, 0o500])
def test_an_empty_directory_in_a_folder_of_somebody_else_is_refused_before_any_work(mode):
    """Root may write anywhere, so whoever asks gives its rights up first; pytest's own folders it could not enter."""
    folder = Path(tempfile.mkdtemp())
    (folder / "out").mkdir()
    (folder / "out").chmod(0o777)
    folder.chmod(mode)
    code = f"""
import os
from pathlib import Path
from spartanc.compiler.artifact import check_output, check_replaceable
from spartanc.errors import UsageError
if os.geteuid() == 0:
    os.setuid(65534)
for check in (check_output, check_replaceable):
    try:
        check(Path({str(folder / "out")!r}))
    except UsageError as error:
        print(error.exit_code, error.message)
"""
    try:
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    finally:
        folder.chmod(0o755)
        shutil.rmtree(folder)
    assert done.stdout.count("no permission") == done.stdout.count("2 ") == 2, done.stdout + done.stderr
