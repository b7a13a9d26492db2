"""A bundle is written whole or not at all."""

import errno
import os
import signal

import pytest

from spartanc.compiler.artifact import check_output, whole_or_nothing
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
