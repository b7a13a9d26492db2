"""One class answers for a bundle of one task and for a fleet, as eager PyTorch does, for any number of threads."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from spartanc.errors import SpartancError, UsageError
from spartanc.models.checkpoint import save_model
from spartanc.runtime_py.fleet import Fleet
from spartanc.runtime_py.loading import load
from spartanc.runtime_py.prediction import Prediction
from support.compiled import MAX_LENGTH, TEXTS, compile_both, eager_of, softmax
from support.models import tiny_model

TASKS = ("three", "pair", "score")


# What a power cut may leave of a file, by what is said of it.
TORN = {
    "0 bytes": lambda data: b"",
    "1000 bytes": lambda data: data[:1000],
    "digest": lambda data: bytes(len(data)),
}


@pytest.fixture(scope="module")
def fp32(tmp_path_factory):
    """(models by task, a bundle of `three`, a fleet); tests/test_api.py has int8"""
    return compile_both(tmp_path_factory.mktemp("fp32"))


@pytest.fixture(scope="module")
def single(fp32):
    with load(fp32[1], threads=1, sessions=2) as model:
        yield model


@pytest.fixture(scope="module")
def fleet(fp32):
    with load(fp32[2], threads=1, sessions=2) as model:
        yield model


def _refused(words, action, *arguments, **options):
    with pytest.raises(UsageError, match=words):
        action(*arguments, **options)


def test_a_bundle_of_one_task_answers_as_eager_does(fp32, single):
    model = fp32[0]["three"]
    predictions = single.classify(TEXTS)
    assert [each.text for each in predictions] == TEXTS
    for text, found in zip(TEXTS, predictions, strict=True):
        expected = softmax(eager_of(model, text))
        assert list(found.scores) == list(model.labels) == list(single.labels())
        assert np.abs(np.array(list(found.scores.values())) - expected).max() < 1e-5
        assert found.label == model.labels[expected.argmax()]
        assert found.score == found.scores[found.label] == max(found.scores.values())
    assert single.tasks == ()


def test_every_task_of_a_fleet_answers_as_eager_does(fp32, fleet):
    assert fleet.tasks == TASKS
    for name in ("three", "pair"):
        for text, found in zip(TEXTS, fleet.classify(TEXTS, task=name), strict=True):
            expected = softmax(eager_of(fp32[0][name], text))
            assert np.abs(np.array(list(found.scores.values())) - expected).max() < 1e-5
        assert fleet.labels(name) == fp32[0][name].labels


def test_a_regression_has_a_score_and_no_label(fp32, fleet):
    assert fleet.labels("score") == ()
    for text, found in zip(TEXTS, fleet.classify(TEXTS, task="score"), strict=True):
        assert found.label is None
        assert found.scores == {}
        assert abs(found.score - float(eager_of(fp32[0]["score"], text)[0])) < 1e-4


def test_rows_of_one_batch_may_be_of_different_tasks(fp32, fleet):
    mixed = fleet.classify(TEXTS[:3], task=["pair", "score", "three"])
    for found, name, text in zip(mixed, ("pair", "score", "three"), TEXTS, strict=False):
        assert found == fleet.classify([text], task=name)[0]
    _refused("2 tasks given for 3 rows", fleet.classify, TEXTS[:3], task=["pair", "score"])


def test_a_task_may_be_given_by_its_file(fp32, fleet):
    file = fp32[2] / "tasks" / "pair.safetensors"
    assert fleet.classify(TEXTS, task=file) == fleet.classify(TEXTS, task="pair")


def test_a_file_and_a_task_of_the_same_name_are_two_tasks(fp32, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copyfile(fp32[2] / "tasks" / "pair.safetensors", "three")
    pair, three = (fp32[0][name].labels for name in ("pair", "three"))
    assert pair != three
    with load(fp32[2], threads=1) as model:
        for _ in range(2):  # the second time they are open
            assert model.labels(Path("three")) == pair
            assert model.labels("three") == three
        by_file = model.open(Path("three"))
        assert model.open(tmp_path / "three") is by_file
        model.forget("three")
        assert model.open(Path("three")) is by_file
        model.forget(Path("three"))
        assert model.open(Path("three")) is not by_file


def test_a_bundle_may_lie_below_a_folder_whose_name_is_no_text(fp32, single, tmp_path):
    copy = tmp_path / os.fsdecode(b"caf\xe9")
    shutil.copytree(fp32[1], copy)
    with load(copy, threads=1) as model:
        assert model.classify(TEXTS) == single.classify(TEXTS)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_logits_that_are_no_numbers_are_an_error_and_no_answer(fp32, fleet, bad):
    for task in (fleet.open(name) for name in TASKS):
        logits = np.zeros(len(task.bundle.labels) or 1, np.float32)
        assert task.answer(logits)
        logits[0] = bad
        with pytest.raises(SpartancError, match="no number") as caught:
            task.answer(logits)
        assert caught.value.exit_code == 1
    with pytest.raises(SpartancError, match="gave 7 logits for a classification of"):
        fleet.open("three").answer(np.zeros(7, np.float32))


def test_logits_are_those_of_eager_whatever_the_padding(fp32, single, fleet):
    ids, mask = np.zeros((3, 9), np.int64), np.zeros((3, 9), np.int64)
    for row, length in enumerate((4, 9, 2)):
        ids[row, :length], mask[row, :length] = np.arange(4, 4 + length), 1
    for model, task in ((single, None), (fleet, "pair"), (fleet, "score")):
        module = fp32[0][task or "three"].module
        with torch.inference_mode():
            expected = np.concatenate(
                [
                    module(torch.from_numpy(ids[[i], :n]), torch.from_numpy(mask[[i], :n]))
                    for i, n in enumerate((4, 9, 2))
                ]
            )
        got = model.logits(ids, mask, task=task)
        assert got.dtype == np.float32
        assert np.abs(expected).max() > 0.01
        assert np.abs(got - expected).max() < 1e-4
        assert np.array_equal(got, model.logits(ids.tolist(), mask.astype(bool), task=task))
        assert model.logits(ids[:0], mask[:0], task=task).shape == (0, expected.shape[1])


@pytest.mark.parametrize(
    "texts",
    ["a good film", b"a good film", ("a good film", "a bad film"), {"text": "a"}, 7, None, [7], [None], [("a",)],
     [("a", 7)], [["a", "b", "c"]], [b"a"]],
)  # fmt: skip
def test_what_is_no_list_of_texts_is_refused(single, texts):
    with pytest.raises(UsageError) as caught:
        single.classify(texts)
    assert caught.value.exit_code == 2


def test_no_texts_have_no_answers(single, fleet):
    assert single.classify([]) == []
    assert fleet.classify([], task="pair") == []
    _refused("several tasks", fleet.classify, [])


def test_a_task_is_named_for_a_fleet_and_only_there(single, fleet):
    for action in (single.classify, single.answers):
        _refused("holds one task", action, ["a film"], task="three")
    _refused("holds one task", single.labels, "three")
    _refused("several tasks: three, pair, score", fleet.classify, ["a film"])
    _refused("several tasks", fleet.labels)
    _refused("no task `four`", fleet.classify, ["a film"], task="four")


@pytest.mark.parametrize(
    ("ids", "mask"),
    [
        ([1, 2], [1, 1]),
        ([[1, 2]], [[1, 1, 1]]),
        ([[1.5, 2]], [[1, 1]]),
        ([["a"]], [[1]]),
        ([[1, 2], [3]], [[1, 1], [1]]),
        ([[5, 6]], [[0, 0]]),
        ([[5, 6]], [[1, 2]]),
        ([[5] * (MAX_LENGTH + 1)], [[1] * (MAX_LENGTH + 1)]),
        ([[]], [[]]),
    ],
)
def test_wrong_ids_are_refused_and_the_model_answers_on(single, ids, mask):
    before = single.classify(TEXTS)
    with pytest.raises(UsageError):
        single.logits(ids, mask)
    assert single.classify(TEXTS) == before


def test_a_closed_model_says_so(fp32):
    for path, task in ((fp32[1], None), (fp32[2], "pair")):
        with load(path, threads=1) as model:
            model.classify(["a film"], task=task)
        _refused("closed", model.classify, ["a film"], task=task)
        _refused("closed", model.logits, [[5]], [[1]], task=task)
        model.close()


def test_threads_get_the_answers_to_their_own_texts(fp32, single, fleet):
    texts = [" ".join(["film", "good", "rain", "card"][: 1 + i % 4] * (1 + i // 4)) for i in range(16)]
    alone = {name: fleet.classify(texts, task=name) for name in TASKS}
    alone_single = single.classify(texts)
    assert len(set(map(str, alone_single))) == len(texts)
    wrong = []

    def work(i):
        for _ in range(25):
            task = TASKS[i % 3]
            if fleet.classify([texts[i]], task=task) != [alone[task][i]] or single.classify([texts[i]]) != [
                alone_single[i]
            ]:
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(16)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert wrong == []


def test_so_many_rows_run_at_once_as_there_are_sessions_and_no_more(fp32):
    with load(fp32[1], threads=1, sessions=3) as model:
        at_once, most, lock = 0, 0, threading.Lock()
        for session in model.sessions:

            def slow(*arguments, original=session.run, **options):
                nonlocal at_once, most
                with lock:
                    at_once += 1
                    most = max(most, at_once)
                time.sleep(0.02)
                with lock:
                    at_once -= 1
                return original(*arguments, **options)

            session.run = slow
        threads = [threading.Thread(target=model.classify, args=(TEXTS,)) for _ in range(16)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        assert most == 3
    _refused("at least 1", load, fp32[1], sessions=0)


def test_closing_waits_for_the_row_that_runs_and_refuses_those_that_wait(fp32):
    model = load(fp32[1], threads=1)
    (session,) = model.sessions
    running, go_on, said = threading.Event(), threading.Event(), []
    original = session.run

    def slow(*arguments, **options):
        running.set()
        go_on.wait()
        return original(*arguments, **options)

    session.run = slow

    def work():
        try:
            said.append(model.classify(["a film"])[0].label)
        except UsageError as error:
            said.append(error.message)

    threads = [threading.Thread(target=work) for _ in range(3)]
    threads[0].start()
    running.wait()
    for each in threads[1:]:
        each.start()
    closing = threading.Thread(target=model.close)
    closing.start()
    time.sleep(0.05)
    assert closing.is_alive()
    go_on.set()
    for each in [*threads, closing]:
        each.join(10)
        assert not each.is_alive()
    assert sorted(said) == sorted(["the bundle is closed"] * 2 + [next(each for each in said if "closed" not in each)])


def test_a_prediction_is_json_and_cannot_be_changed(single, fleet):
    one, pair = single.classify(["a good film", ("a good film", "a bad film")])
    assert json.loads(json.dumps(one.as_json())) == {
        "text": "a good film", "label": one.label, "score": one.score, "scores": dict(one.scores),
        "truncated": False,
    }  # fmt: skip
    assert pair.as_json()["text_pair"] == "a bad film"
    assert fleet.classify(["a"], task="score")[0].as_json()["label"] is None
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.label = "other"


def test_a_prediction_of_several_labels_keeps_them_beside_the_scores():
    scores = {"a": 0.9, "b": 0.6, "c": 0.1}
    found = Prediction.of("text", {"labels": ["a", "b"], "scores": scores, "truncated": True})
    assert (found.label, found.labels, found.score, found.truncated) == (None, ("a", "b"), 0.9, True)
    assert found.as_json()["labels"] == ["a", "b"]
    none = Prediction.of("text", {"labels": [], "scores": {"a": 0.2}})
    assert none.labels == ()
    assert none.as_json()["labels"] == []


def test_a_task_is_found_after_the_program_went_to_another_folder(fp32, tmp_path, monkeypatch):
    monkeypatch.chdir(fp32[2].parent)
    with load(fp32[2].name, threads=1) as model:
        monkeypatch.chdir(tmp_path)
        assert model.labels("pair") == ("x", "y")


def test_an_altered_program_is_refused_of_a_bundle_and_of_a_fleet(fp32, tmp_path):
    for path in fp32[1:3]:
        copy = tmp_path / path.name
        shutil.copytree(path, copy)
        data = bytearray((copy / "model.pte").read_bytes())
        data[-1] ^= 1
        (copy / "model.pte").write_bytes(data)
        _refused("digest", load, copy)


@pytest.mark.parametrize(("name", "torn"), TORN.items())
def test_a_torn_task_is_refused_by_its_name_and_the_others_answer(fp32, fleet, tmp_path, name, torn):
    copy = tmp_path / "fleet"
    shutil.copytree(fp32[2], copy)
    file = copy / "tasks" / "pair.safetensors"
    file.write_bytes(torn(file.read_bytes()))
    with load(copy, threads=1) as model:
        assert model.tasks == TASKS
        assert model.bundle.damaged.keys() == {"pair"}
        for task in ("three", "score"):
            assert model.classify(TEXTS, task=task) == fleet.classify(TEXTS, task=task)
        _refused(f"task `pair`.*{name}", model.classify, TEXTS, task="pair")
        _refused("task file", model.classify, TEXTS, task=file)
    with Fleet(copy, threads=1) as old:
        _refused("task `pair`", old.classify, TEXTS, "pair")


def test_a_fleet_gives_plain_values_and_refuses_a_bundle_of_one_task(fp32, fleet):
    with Fleet(fp32[2], threads=1) as old:
        for task in ("score", "pair"):
            for plain, found in zip(old.classify(TEXTS, task), fleet.classify(TEXTS, task=task), strict=True):
                assert {"label", "score" if task == "score" else "scores"} <= set(plain)
                assert plain == {name: found.as_json()[name] for name in plain}
    _refused("no fleet", Fleet, fp32[1])


def test_a_model_without_a_tokenizer_takes_ids_and_no_text(tmp_path):
    from spartanc.compiler.pipeline import CompileRequest, compile_model

    model = tiny_model(layers=1)
    model.tokenizer = None
    save_model(model, tmp_path / "model.pt")
    request = CompileRequest(models=(tmp_path / "model.pt",), target="host", out=tmp_path / "bundle", max_length=16)
    compile_model(request)
    with load(tmp_path / "bundle", threads=1) as loaded:
        _refused("takes no text", loaded.classify, ["a film"])
        assert loaded.logits([[5, 6]], [[1, 1]]).shape == (1, 3)


def test_a_torchscript_bundle_is_refused_with_what_to_do(tmp_path):
    from support.artifacts import write_bundle

    bundle = write_bundle(tmp_path / "bundle", program_format="torchscript")
    with pytest.raises(SpartancError, match=r"torch\.jit\.load"):
        load(bundle)


BARE = """
import importlib.util, json, sys
import spartanc
for name in ("torch", "executorch", "click", "rich", "safetensors"):
    assert importlib.util.find_spec(name) is None, name
answers = []
for path, task in json.loads(sys.argv[1]):
    with spartanc.load(path, threads=1) as model:
        answers.append([each.as_json() for each in model.classify(["a good film"], task=task)])
print(json.dumps(answers))
"""


@pytest.fixture
def bare(tmp_path):
    """Runs Python where there are numpy, tokenizers and spartanc and nothing else."""
    import numpy
    import tokenizers

    packages = tmp_path / "packages"
    packages.mkdir()
    for package in (numpy, tokenizers):
        folder = Path(package.__file__).parent
        for part in folder.parent.glob(f"{folder.name}*"):
            (packages / part.name).symlink_to(part)
    (packages / "spartanc").symlink_to(Path(__file__).parents[2] / "spartanc")

    def run(script, *words, **variables):
        environment = os.environ | {"PYTHONPATH": str(packages)} | variables
        command = [sys.executable, "-S", "-c", script, *map(str, words)]
        return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path)

    return run


def test_numpy_and_tokenizers_are_all_it_takes_once_the_runtime_is_built(fp32, single, fleet, bare):
    done = bare(BARE, json.dumps([[str(fp32[1]), None], [str(fp32[2]), "pair"]]))
    assert done.returncode == 0, done.stderr
    expected = [model.classify(["a good film"], task=task) for model, task in ((single, None), (fleet, "pair"))]
    assert json.loads(done.stdout) == [[each.as_json() for each in found] for found in expected]


def test_where_no_runtime_was_built_and_none_can_be_the_error_says_so(fp32, bare, tmp_path):
    script = """
import sys, spartanc
try:
    spartanc.load(sys.argv[1])
except spartanc.errors.MissingToolError as error:
    print(error.exit_code, error)
"""
    done = bare(script, fp32[1], SPARTANC_CACHE=str(tmp_path / "empty"))
    assert done.stdout.startswith("5 the native runtime of this machine is not built"), done.stdout + done.stderr
    assert "hint: " in done.stdout


ORDERS = {
    "executorch before": ["executorch", "load"],
    "executorch after": ["load", "executorch", "again"],
    "two libraries": ["load", "copy", "executorch", "again", "copy"],
}
SCRIPT = """
import json, os, sys
import numpy as np
bundle, copy, steps = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
said, model = [], None
for step in steps:
    if step == "executorch":
        import torch
        from executorch.runtime import Runtime
        row = torch.tensor([[5, 6, 7]])
        method = Runtime.get().load_program(bundle + "/model.pte")
        try:
            method.load_method("forward")
        except RuntimeError as error:
            pass  # it lacks our operators, unless a session brought them
    else:
        from pathlib import Path
        from spartanc.errors import SpartancError
        from spartanc.runtime_py.bundle import open_bundle
        from spartanc.runtime_py.classifier import Classifier
        from spartanc.runtime_py.loading import load
        if step == "load":
            model = load(bundle, threads=1)
        if step == "copy":
            model = Classifier(open_bundle(bundle), library=Path(copy) / "libspartan.so", threads=1)
        said.append(model.logits([[5, 6, 7]], [[1, 1, 1]]).tolist())
        model.sessions[0]._vocabulary = None  # else the id would be refused before the program sees it
        try:
            model.sessions[0].run(np.full((1, 3), 5000), np.ones((1, 3), np.int64))
        except SpartancError as error:
            said.append(error.message)
print(json.dumps(said))
sys.stdout.flush()
"""


@pytest.mark.parametrize("order", ORDERS)
def test_executorch_may_be_imported_before_and_after(fp32, single, tmp_path, order):
    """One copy of ExecuTorch's libraries serves all, and what a failing program says goes to its own caller."""
    from spartanc.runtime_py.build import board_runtime_files

    for name, file in board_runtime_files("host").items():
        shutil.copyfile(file, tmp_path / name)
    (tmp_path / "spartan").chmod(0o755)
    command = [sys.executable, "-W", "ignore", "-c", SCRIPT, fp32[1], tmp_path, json.dumps(ORDERS[order])]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "register_pal" not in done.stderr
    said = json.loads(done.stdout)
    assert len(said) == 2 * sum(step != "executorch" for step in ORDERS[order])
    expected = single.logits([[5, 6, 7]], [[1, 1, 1]]).tolist()
    for logits, failure in zip(said[::2], said[1::2], strict=True):
        assert logits == expected
        assert "indices_ptr[0] 5000 >=" in failure  # what ExecuTorch's kernel logged


def test_another_version_of_executorch_in_this_process_is_refused(fp32, tmp_path):
    """A bundle's own libraries, of another build than the ones that are loaded."""
    from spartanc.runtime_py.bundle import open_bundle
    from spartanc.runtime_py.classifier import Classifier
    from spartanc.runtime_py.loaded_libraries import loaded_executorch

    with load(fp32[1], threads=1):
        loaded = loaded_executorch()
    assert loaded is not None
    from spartanc.runtime_py.build import board_runtime_files

    for name, file in board_runtime_files("host").items():
        shutil.copyfile(file, tmp_path / name)
    (tmp_path / "spartan").chmod(0o755)
    with (tmp_path / "libexecutorch.so").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(UsageError, match="not the version") as caught:
        Classifier(open_bundle(fp32[1]), library=Path(tmp_path / "libspartan.so"), threads=1)
    assert str(loaded) in caught.value.message
