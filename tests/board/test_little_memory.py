"""Boards with little memory: the same answers, and what a bundle takes there."""

import json
import re

import numpy as np
import pytest
from board_machine import Board
from conftest import compile_for_the_board

from spartanc.compiler.run import run_bundle
from spartanc.models.checkpoint import save_model
from spartanc.runtime_py.bundle import open_bundle
from spartanc.runtime_py.devices.catalogue import find_device
from spartanc.runtime_py.devices.device import DeviceError, write_rows
from support.models import tiny_model

ROWS = 1000
MOST_MB = 40  # of the whole process; it was 7
SHAPES = {"6 layers of 384": (6, 384), "12 layers of 768": (12, 768)}
GROUPS = "/sys/fs/cgroup"
MANY_ROWS = 2_000_000  # of one token: 32 MB as a file, which the program reads whole, and over 200 in memory


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


def large_bundle(shape, folder):
    """int8, random weights and a vocabulary as large as BERT's."""
    layers, hidden = SHAPES[shape]
    changes = {"vocab_size": 30522, "intermediate_size": 4 * hidden}
    save_model(tiny_model(layers=layers, hidden=hidden, heads=12, changes=changes), folder / "large.pt")
    return compile_for_the_board(folder / "large.pt", None, "int8", folder)


def test_out_of_memory_is_an_error_by_its_name_and_loses_nothing(image, int8, tmp_path, monkeypatch, sent):
    """A real shortage on a board of 256 MB, whose kernel ends the program, and perhaps the connection before."""
    board, text = small_board(image, tmp_path, monkeypatch, 256), "where is the card"
    row = (np.ones((1, 1), np.int64), np.ones((1, 1), np.int64))
    try:
        expected = run_bundle(int8, text=text, device=board.device)
        with pytest.raises(DeviceError, match=r"system out of memory|ran out of memory"):
            find_device(board.device, "rpi4").run(int8, open_bundle(int8).program, [row] * MANY_ROWS)
        assert "Out of memory: Killed process" in board.run("dmesg")
        sent.clear()
        assert run_bundle(int8, text=text, device=board.device) == expected
        assert [name for name in sent if not name.startswith("rows")] == []
    finally:
        board.cut()


@pytest.mark.long
@pytest.mark.parametrize("megabytes", [1024, 512, 256])
@pytest.mark.parametrize("shape", SHAPES)
def test_what_a_large_bundle_takes(image, shape, megabytes, tmp_path, monkeypatch):
    """1,000 rows in a control group of their own, which counts the pages of mapped files too."""
    bundle = large_bundle(shape, tmp_path)
    (tmp_path / "rows").mkdir()
    rows = random_rows(bundle, ROWS)
    write_rows(tmp_path / "rows/ids", rows)
    board = small_board(image, tmp_path, monkeypatch, megabytes)
    try:
        board.send_folder(bundle, "bundle")
        board.send_folder(tmp_path / "rows", "rows")
        board.run(f"mount -t cgroup2 none {GROUPS} && echo +memory >{GROUPS}/cgroup.subtree_control")
        board.run(f"mkdir {GROUPS}/spartan && sync && echo 3 >/proc/sys/vm/drop_caches")
        command = "bundle/runtime/spartan run bundle --ids rows/ids --json"
        said = json.loads(board.run(f"echo $$ >{GROUPS}/spartan/cgroup.procs && {command}", seconds=3000))
        assert len(said["rows"]) == ROWS
        peak = int(board.run(f"cat {GROUPS}/spartan/memory.peak")) / 2**20
        faults = re.search(r"pgmajfault (\d+)", board.run(f"cat {GROUPS}/spartan/memory.stat"))[1]
        size = sum(file.stat().st_size for file in bundle.iterdir() if file.is_file()) / 2**20
        print(
            f"{shape}, {megabytes} MB: files {size:.1f} MB, peak RSS {said['peak_rss_mb']:.1f} MB, with the page cache"
            f" {peak:.1f} MB, {faults} reads from the disk"
        )
        assert said["peak_rss_mb"] < megabytes / 2
    finally:
        board.cut()
