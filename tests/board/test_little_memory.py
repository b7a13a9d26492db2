"""Boards with little memory: the same answers, and what a bundle takes there."""

import json

import numpy as np
import pytest
from board_machine import Board

from spartanc.runtime_py.bundle import open_bundle
from spartanc.runtime_py.devices.catalogue import find_device
from spartanc.runtime_py.devices.device import write_rows

ROWS = 1000
MOST_MB = 40  # of the whole process; it was 7


def random_rows(path, count):
    bundle, generator = open_bundle(path), np.random.default_rng(3)
    lengths = generator.integers(1, bundle.max_length + 1, count)
    lengths[0] = bundle.max_length
    return [(generator.integers(0, bundle.vocabulary_size, (1, n)), np.ones((1, n), np.int64)) for n in lengths]


def small_board(image, folder, monkeypatch, megabytes):
    board = Board(image, folder, memory_mb=megabytes)
    board.boot()
    monkeypatch.setenv("SPARTANC_SSH_COMMAND", board.ssh_command)
    return board


@pytest.mark.parametrize("megabytes", [1024, 512, 256])
def test_1000_rows_take_the_same_memory_on_any_board(image, int8, tmp_path, monkeypatch, megabytes):
    rows = random_rows(int8, ROWS)
    write_rows(tmp_path / "ids.safetensors", rows)
    expected = np.stack(find_device("qemu", "rpi4").run(int8, open_bundle(int8).program, rows, threads=1))
    board = small_board(image, tmp_path, monkeypatch, megabytes)
    try:
        board.send_folder(int8, "bundle")
        (tmp_path / "rows").mkdir()
        (tmp_path / "ids.safetensors").rename(tmp_path / "rows" / "ids")
        board.send_folder(tmp_path / "rows", "rows")
        command = "bundle/runtime/spartan run bundle --ids rows/ids --threads 1 --json"
        said = json.loads(board.run(command, seconds=1200))
        found = np.array([row["logits"] for row in said["rows"]], np.float32)
        np.testing.assert_array_equal(found, expected)
        print(f"{megabytes} MB: peak RSS {said['peak_rss_mb']:.1f} MB")
        assert said["peak_rss_mb"] < MOST_MB
    finally:
        board.cut()
