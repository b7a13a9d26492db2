"""The ctypes session, each time in a process of its own: what goes wrong there must not end this one."""

import json
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from spartanc.runtime_py.build import build_runtime
from spartanc.runtime_py.session import BoundInputs
from support.programs import MAX_LENGTH, eager_logits, tiny_rows

PRELUDE = """
import json, sys
import numpy as np
from spartanc.errors import SpartancError
from spartanc.runtime_py.session import Session
program, library = sys.argv[1:3]
def attempt(action):
    try:
        action()
    except SpartancError as error:
        return [error.exit_code, error.message]
    return [0, ""]
def ones(length, rows=1):
    return np.ones((rows, length), np.int64)
"""


@pytest.fixture(scope="module")
def library():
    return build_runtime("host") / "libspartan.so"


def in_own_process(code: str, program: Path, library: Path):
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + code, str(program), str(library)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_logits_agree_with_eager_at_every_length(tiny, library):
    path, module = tiny
    rows = tiny_rows()
    expected = np.stack(eager_logits(module, rows))
    assert np.abs(expected).max() > 0.01
    ids = json.dumps([row[0].tolist() for row in rows])
    code = f"""
with Session(program, library=library, threads=1) as session:
    rows = [np.array(ids, np.int64) for ids in {ids}]
    print(json.dumps([session.run(ids, np.ones_like(ids))[0].tolist() for ids in rows]))
"""
    got = np.array(in_own_process(code, path, library))
    assert np.abs(got - expected).max() < 1e-5


def test_threads_share_a_session_and_each_gets_its_own_answer(tiny, library):
    """16 threads, each with rows of its own, against eager logits of these rows; and closing while they run."""
    path, module = tiny
    rows = tiny_rows(16)
    assert len(rows) == 16
    expected = np.stack(eager_logits(module, rows))
    assert min(np.abs(a - b).max() for i, a in enumerate(expected) for b in expected[:i]) > 1e-4
    code = f"""
import threading
rows = [np.array(ids, np.int64) for ids in {json.dumps([ids.tolist() for ids, _ in rows])}]
answers = [[] for _ in rows]
start = threading.Barrier(len(rows))
def ask(number):
    start.wait()
    for _ in range(25):
        answers[number].append(session.run(rows[number], np.ones_like(rows[number]))[0].tolist())
with Session(program, library=library, threads=1) as session:
    threads = [threading.Thread(target=ask, args=(number,)) for number in range(len(rows))]
    for each in threads: each.start()
    for each in threads: each.join()
    said = []
    def until_closed():
        while True:
            outcome = attempt(lambda: session.run(rows[0], np.ones_like(rows[0])))
            if outcome[0]:
                said.append(outcome)
                return
    threads = [threading.Thread(target=until_closed) for _ in range(16)]
    for each in threads: each.start()
    session.close()
    for each in threads: each.join()
print(json.dumps([answers, said]))
"""
    answers, said = in_own_process(code, path, library)
    for number, got in enumerate(answers):
        assert len(got) == 25
        assert np.abs(np.array(got) - expected[number]).max() < 1e-5
    assert said == [[2, "the session is closed"]] * 16


def test_ids_outside_the_manifests_vocabulary_are_refused(tiny, library):
    code = """
manifest = {"inputs": [], "max_length": 8, "vocabulary_size": 50}
with Session(program, library=library, manifest=manifest) as session:
    ids = ones(4)
    good = session.run(ids, ones(4))
    found = []
    for id in (50, -1, 2**40):
        ids[0, 2] = id
        found.append(attempt(lambda: session.run(ids, ones(4))))
    ids[0, 2] = 49
    found.append(attempt(lambda: session.run(ids, ones(4))))
print(json.dumps(found))
"""
    *refused, good = in_own_process(code, tiny[0], library)
    assert [status for status, _ in refused] == [2, 2, 2]
    assert refused[0][1] == "id `50` at position 3 is outside of the vocabulary of 50 tokens"
    assert good == [0, ""]


def test_padding_changes_nothing_kept_or_cut(tiny, library):
    code = """
with Session(program, library=library) as session:
    short = session.run(ones(5) * 7, ones(5))
    padded = np.pad(ones(5) * 7, ((0, 0), (0, 6))), np.pad(ones(5), ((0, 0), (0, 6)))
    kept, cut = session.run(*padded, keep_padding=True), session.run(*padded)
    print(json.dumps([short.tolist(), kept.tolist(), cut.tolist()]))
"""
    short, kept, cut = map(np.array, in_own_process(code, tiny[0], library))
    assert np.array_equal(short, cut)
    assert np.abs(short - kept).max() < 1e-6


def test_every_wrong_dimension_is_an_error_and_the_session_lives_on(tiny, library):
    code = f"""
with Session(program, library=library) as session:
    good = session.run(ones(4), ones(4))
    failures = {{
        "too long": attempt(lambda: session.run(ones({MAX_LENGTH + 1}), ones({MAX_LENGTH + 1}))),
        "empty": attempt(lambda: session.run(ones(0), ones(0), keep_padding=True)),
        "two rows": attempt(lambda: session.run(ones(4, 2), ones(4, 2))),
        "other mask": attempt(lambda: session.run(ones(4), ones(3))),
        "one dimension": attempt(lambda: session.run(ones(4)[0], ones(4)[0])),
        "int32": attempt(lambda: session.run(ones(4).astype(np.int32), ones(4))),
        "float16": attempt(lambda: session.run(ones(4).astype(np.float16), ones(4))),
        "one input": attempt(lambda: session.run(ones(4), ones(4), ones(4))),
        "empty mask": attempt(lambda: session.run(ones(4), ones(4) * 0)),
        "other threads": attempt(lambda: Session(program, library=library, threads=3)),
    }}
    session.narrow_inputs({{"max_length": 8, "inputs": [{{"shape": [1, "L"]}}] * 2}})
    failures["narrowed"] = attempt(lambda: session.run(ones(9), ones(9)))
    same = np.array_equal(good, session.run(ones(4), ones(4)))
failures["closed"] = attempt(lambda: session.run(ones(4), ones(4)))
print(json.dumps([failures, same]))
"""
    failures, same = in_own_process(code, tiny[0], library)
    assert {name: code for name, (code, _) in failures.items()} == dict.fromkeys(failures, 2)
    assert all(message for _, message in failures.values())
    assert f"within 1 and {MAX_LENGTH}" in failures["too long"][1]
    assert same


def test_inputs_are_held_to_the_manifest(tiny, library):
    code = """
said = lambda most, batch: {"max_length": most, "inputs": [{"shape": [batch, "L"]}] * 2}
with Session(program, library=library, manifest=said(8, 1)) as session:
    session.run(ones(8), ones(8))
    found = {
        "longer than the manifest says": attempt(lambda: session.run(ones(9), ones(9))),
        "another program's manifest": attempt(lambda: session.narrow_inputs(said(999, 1))),
        "another batch": attempt(lambda: session.narrow_inputs(said(8, 7))),
        "too many inputs": attempt(lambda: session.narrow_inputs({"inputs": [{"shape": [1]}] * 3})),
    }
found["when it is opened"] = attempt(lambda: Session(program, library=library, manifest=said(8, 7)))
print(json.dumps(found))
"""
    found = in_own_process(code, tiny[0], library)
    assert {name: code for name, (code, _) in found.items()} == dict.fromkeys(found, 2)
    assert "within 1 and 8" in found["longer than the manifest says"][1]
    assert all("the manifest does not describe" in found[name][1] for name in list(found)[1:])


def test_rows_that_are_shorter_than_the_manifests_shortest_are_padded(tiny, library):
    code = """
said = lambda least: {"max_length": 8, "inputs": [{"shape": [1, "L"]}] * 2, "min_length": least}
row = lambda length: np.arange(5, 5 + length)[None]
with Session(program, library=library, manifest=said(1)) as session:
    expected = [session.run(row(length), ones(length))[0].tolist() for length in (1, 5, 2, 8)]
    found = {
        "longer than the longest": attempt(lambda: session.narrow_inputs(said(9))),
        "an empty row": attempt(lambda: session.run(ones(0), ones(0), keep_padding=True)),
    }
with Session(program, library=library, manifest=said(5)) as session:
    got = [session.run(row(length), ones(length))[0].tolist() for length in (1, 5, 2, 8)]
    kept = session.run(np.pad(row(1), ((0, 0), (0, 2))), np.pad(ones(1), ((0, 0), (0, 2))), keep_padding=True)[0]
    found["other mask"] = attempt(lambda: session.run(ones(2), ones(1), keep_padding=True))
    least = [each.least for each in session.inputs]
print(json.dumps([expected, got, kept.tolist(), found, least]))
"""
    expected, got, kept, found, least = in_own_process(code, tiny[0], library)
    assert np.abs(np.array(got) - expected).max() < 1e-6
    assert np.abs(np.array(kept) - expected[0]).max() < 1e-6
    assert {name: code for name, (code, _) in found.items()} == dict.fromkeys(found, 2)
    assert "the least length of input 0 must be within 1 and 8, got 9" in found["longer than the longest"][1]
    assert least == [[1, 1], [1, 1]]


def test_a_failed_run_does_not_spoil_the_next(tiny, library):
    code = """
with Session(program, library=library) as session:
    before = session.run(ones(4), ones(4))
    failed = attempt(lambda: session.run(ones(4) * 5000, ones(4)))
    after = session.run(ones(4), ones(4))
print(json.dumps([failed, np.array_equal(before, after)]))
"""
    (exit_code, message), same = in_own_process(code, tiny[0], library)
    assert exit_code == 1
    assert "embedding" in message
    assert same


def test_statistics_count_runs_threads_and_memory(tiny, library):
    code = """
with Session(program, library=library, threads=1) as session:
    for _ in range(3):
        session.run(ones(4), ones(4))
    print(json.dumps(vars(session.statistics)))
"""
    statistics = in_own_process(code, tiny[0], library)
    assert statistics["runs"] == 3
    assert statistics["threads"] == 1
    assert statistics["program_bytes"] == tiny[0].stat().st_size
    assert 0 < statistics["last_run_ns"] <= statistics["total_run_ns"]
    assert statistics["load_ns"] > 0
    assert statistics["peak_rss_bytes"] > 1 << 20


def test_weight_cache_gives_the_same_logits(tiny, library):
    code = """
results = []
for cached in (False, True, True):
    with Session(program, library=library, weight_cache=cached) as session:
        results.append(session.run(ones(4), ones(4)).tolist())
print(json.dumps(results))
"""
    plain, first, second = in_own_process(code, tiny[0], library)
    assert plain == first == second


def test_a_profile_is_recorded_once_asked_for(tiny, library):
    code = """
with Session(program, library=library, profile=True) as session:
    early = attempt(session.profile)
    session.run(ones(4), ones(4))
    data = session.profile()
with Session(program, library=library) as session:
    session.run(ones(4), ones(4))
    without = attempt(session.profile)
print(json.dumps([early[0], len(data), without[0]]))
"""
    early, size, without = in_own_process(code, tiny[0], library)
    assert early == 2
    assert without == 2
    assert size > 100


def test_files_that_are_no_programs_are_errors_with_a_reason(tiny, library, tmp_path):
    whole = tiny[0].read_bytes()
    broken = {
        "missing": None,
        "empty": b"",
        "text": b"not a program" * 100,
        "cut": whole[: len(whole) // 2],
        "header only": whole[:64],
        "no end": whole[:-1],
    }
    for name, data in broken.items():
        if data is not None:
            (tmp_path / name).write_bytes(data)
    code = f"""
found = {{}}
for name in {list(broken)}:
    found[name] = attempt(lambda: Session(program + "/" + name, library=library))
print(json.dumps(found))
"""
    found = in_own_process(code, tmp_path, library)
    assert {name: code for name, (code, _) in found.items()} == dict.fromkeys(broken, 2)
    assert "No such file" in found["missing"][1]


def test_a_missing_library_is_exit_5(tiny, tmp_path):
    code = "print(json.dumps(attempt(lambda: Session(program, library=library))))"
    exit_code, message = in_own_process(code, tiny[0], tmp_path / "libspartan.so")
    assert exit_code == 5
    assert "libspartan.so" in message


def test_what_is_bound_takes_little_beside_its_arrays():
    """Many tasks are open at once, each with some seventy tensors."""
    arrays = [np.zeros((48, 4), np.float32) for _ in range(70)]
    taken = []
    for _ in range(5):  # Python's free lists fill up meanwhile: what they take on top differs from round to round
        tracemalloc.start()
        try:
            bound = BoundInputs(arrays)
            taken.append(tracemalloc.get_traced_memory()[0])
        finally:
            tracemalloc.stop()
    assert len(bound.after(np.zeros((1, 5), np.int64), np.ones((1, 5), np.int64))) == 72
    assert min(taken) < 70 * 150
