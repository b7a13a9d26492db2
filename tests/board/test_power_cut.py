"""What a loss of power leaves on a board: the machine is killed, and started again from the same disk."""

import hashlib
import json
import shutil
import subprocess
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import spartanc
from spartanc.compiler.artifact import replaced_whole, write_manifest
from spartanc.compiler.run import run_bundle
from spartanc.runtime_py.bundle import MANIFEST, open_bundle
from spartanc.runtime_py.signature import read_private_key, sign, write_key_pair

TEXT = {"text": "where is the card"}
STORE = ".cache/spartanc-device/files"
COMMIT_SECONDS = 6  # ext4 writes names about every 5 s, data not before 30: without a sync that is when it tears


def wrong_files(board):
    """Stored files that are not what they are called, and how many there are in all."""
    said = board.run(f"cd {STORE} && sha256sum *").split()
    return [name for digest, name in zip(said[::2], said[1::2], strict=True) if digest != name], len(said) // 2


def test_a_cut_after_a_run_leaves_a_whole_store(board, compiled, sent):
    board.run("rm -rf .cache && sync")
    expected = run_bundle(compiled[2], **TEXT, device=board.device)
    stored = len(board.run(f"ls {STORE}").split())
    assert stored > 3
    time.sleep(COMMIT_SECONDS)
    board.cut()
    board.boot()
    assert wrong_files(board) == ([], stored)
    sent.clear()
    assert run_bundle(compiled[2], **TEXT, device=board.device) == expected
    assert sent == []


def test_a_store_that_an_older_cut_emptied_heals(board, compiled, sent):
    """As spartanc left it before files were synced."""
    expected = run_bundle(compiled[2], **TEXT, device=board.device)
    board.run(f"cd {STORE} && for file in *; do : >$file; done && rm ../checked && sync")
    board.cut()
    board.boot()
    wrong, count = wrong_files(board)
    assert len(wrong) == count > 3
    sent.clear()
    assert run_bundle(compiled[2], **TEXT, device=board.device) == expected
    assert len(sent) > 3
    assert wrong_files(board)[0] == []


def test_a_cut_while_files_are_sent_leaves_no_wrong_name(board, compiled):
    """The machine dies in the middle; then the same command works."""
    board.run("rm -rf .cache && sync")
    failed = []

    def run():
        try:
            run_bundle(compiled[2], **TEXT, device=board.device)
        except Exception as error:
            failed.append(error)

    worker = threading.Thread(target=run)
    worker.start()
    while not board.run("ls .cache/spartanc-device/jobs/*/incoming 2>/dev/null || true").split():
        assert worker.is_alive()
    board.cut()
    worker.join(120)
    assert failed
    board.boot()
    assert run_bundle(compiled[2], **TEXT, device=board.device)
    assert wrong_files(board)[0] == []


def test_a_task_file_torn_by_a_cut_takes_no_other_task(board, fleet):
    names = list(open_bundle(fleet).manifest["fleet"]["tasks"])
    board.send_folder(fleet, "fleet")
    board.run("sync && cp fleet/tasks/pair.safetensors copy && rm fleet/tasks/pair.safetensors && sync")
    board.run("cat copy >fleet/tasks/pair.safetensors")
    time.sleep(2 * COMMIT_SECONDS)
    board.cut()
    board.boot()
    is_torn = "same" not in board.run("cmp copy fleet/tasks/pair.safetensors && echo same || true")
    for name in names:
        said = board.run(f"fleet/runtime/spartan check fleet --task {name} 2>&1; echo exit $?")
        if name == "pair" and is_torn:
            assert "exit 2" in said
            assert "task `pair`" in said
        else:
            assert "exit 0" in said


HOME = "/root/cuts"
CUTS = 10  # of one test
LONGEST = 12.0  # seconds from the writer's first line to the cut


@pytest.fixture(scope="module")
def writing(the_board, fleet, tmp_path_factory):
    """The board, with a signed fleet and what `board_writer.py` needs."""
    folder = tmp_path_factory.mktemp("cuts")
    shutil.copytree(fleet, folder / "fleet")
    write_key_pair(folder / "key")
    key, manifest = read_private_key(folder / "key"), open_bundle(fleet).manifest
    row = manifest["fleet"]["tasks"]["pair"]
    (folder / "pair.json").write_text(json.dumps(row))
    shutil.copy(fleet / row["file"], folder / "pair.safetensors")
    (folder / "signatures").mkdir()
    others = {name: other for name, other in manifest["fleet"]["tasks"].items() if name != "pair"}
    for tasks in (others, others | {"pair": row}):  # what the writer makes; the last is what it starts from
        with replaced_whole(folder / "fleet") as made:
            (made / row["file"]).unlink(missing_ok=True)
            if "pair" in tasks:
                shutil.copy(fleet / row["file"], made / row["file"])
            write_manifest(made, manifest | {"fleet": manifest["fleet"] | {"tasks": tasks}}, folder / "key")
        text = (folder / "fleet" / MANIFEST).read_bytes()
        (folder / "signatures" / hashlib.sha256(text).hexdigest()).write_bytes(sign(text, key))
    no_sources = shutil.ignore_patterns("__pycache__", "native")
    shutil.copytree(Path(spartanc.__file__).parent, folder / "product/spartanc", ignore=no_sources)
    shutil.copy(Path(__file__).with_name("board_writer.py"), folder)
    if not the_board.is_on:
        the_board.boot()
    the_board.send_folder(folder, HOME)
    the_board.run("sync")
    return the_board


def check_and_write(board, seconds):
    """What the check found that the writer begins with; the power is cut `seconds` later."""
    command = [*board.ssh_command.split(), "-p", str(board.port), "root@127.0.0.1"]
    with subprocess.Popen(
        [*command, f"python3 {HOME}/board_writer.py {HOME}"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            found = process.stdout.readline()
            assert found, process.stderr.read()
            time.sleep(seconds)
            assert process.poll() is None, process.stderr.read()
            board.cut()
        finally:
            process.kill()
    return json.loads(found)


@pytest.mark.parametrize(
    "part", [0, *(pytest.param(part, marks=pytest.mark.long) for part in range(1, 20))], ids=lambda part: f"cuts{part}"
)
def test_a_cut_while_a_board_is_written_leaves_every_file_old_or_new(writing, part):
    """10 cuts at drawn moments, 200 in all: a task added or taken out, bundles, signatures, keys, records."""
    totals = {"bundles": 0, "keys": 0, "left": 0, "records": 0}
    check_and_write(writing, 0)
    for number, seconds in enumerate(np.random.default_rng(part).uniform(0.1, LONGEST, CUTS), 1):
        writing.boot()
        found = check_and_write(writing, seconds)  # of the cut before
        assert set(found["fleet"]) in ({"three", "score"}, {"three", "score", "pair"})
        for name in totals:
            totals[name] += found[name]
        print(f"cut {number} survived: {found}")
    writing.boot()
    print(f"{CUTS} cuts survived: {totals}")
    assert totals["keys"] > 0
    assert totals["records"] > 0
