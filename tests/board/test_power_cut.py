"""What a loss of power leaves on a board: the machine is killed, and started again from the same disk."""

import threading
import time

from spartanc.compiler.run import run_bundle
from spartanc.runtime_py.bundle import open_bundle

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
