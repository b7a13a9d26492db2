"""One program serves tasks of several shapes as programs of their own would, and nothing that is not its own."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch

from spartanc.compiler import fleet as fleets
from spartanc.compiler.artifact import write_manifest
from spartanc.compiler.fleet import add_task, list_tasks, remove_task
from spartanc.compiler.inspection import inspect_path
from spartanc.compiler.member import Member
from spartanc.compiler.pipeline import CompileRequest, compile_model
from spartanc.compiler.proof import eager_logits
from spartanc.compiler.run import answer_rows, run_bundle
from spartanc.compiler.samples import random_rows
from spartanc.compiler.verify import VerifyRequest, verify_bundle
from spartanc.errors import UsageError
from spartanc.models.checkpoint import save_model
from spartanc.models.memory import SpartanConfig
from spartanc.runtime_py.build import COMMAND, build_runtime
from spartanc.runtime_py.bundle import manifest_digest_line, open_bundle
from spartanc.runtime_py.devices.local import LocalDevice
from spartanc.runtime_py.devices.qemu import QemuDevice
from spartanc.runtime_py.devices.stock import StockDevice
from spartanc.runtime_py.safetensors_file import write_tensors
from spartanc.runtime_py.setup_target import is_ready
from spartanc.runtime_py.task_file import check_task, open_task, read_interface, reseal
from support import tasks as task_files
from support.artifacts import reseal as reseal_bundle
from support.fleets import on_backbone_of, save_tasks, tiny_tasks
from support.models import tiny_model

MAX_LENGTH = 24
ROWS = random_rows(64, MAX_LENGTH, 8)


def _compile(models, out, **options):
    request = CompileRequest(
        models=tuple(models), target="host", out=out, max_length=MAX_LENGTH, shared_backbone=True, **options
    )
    return compile_model(request).as_json()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """(models, their files, directory of the fleet, what compile said); the fleet is made of two, the third added."""
    folder = tmp_path_factory.mktemp("fleet")
    models = tiny_tasks("bert")
    models["three"].pairs = False  # the others do not say how many texts they take
    paths = save_tasks(models, folder)
    result = _compile([paths["three"], paths["pair"]], folder / "fleet")
    program = (folder / "fleet" / "model.pte").read_bytes()
    add_task(folder / "fleet", paths["score"])
    assert (folder / "fleet" / "model.pte").read_bytes() == program
    return models, paths, folder / "fleet", result


@pytest.fixture
def fleet(made, tmp_path):
    """A copy to change."""
    shutil.copytree(made[2], tmp_path / "fleet")
    return tmp_path / "fleet"


def _refused(words, action, *arguments, **options):
    with pytest.raises(UsageError, match=words) as caught:
        action(*arguments, **options)
    assert caught.value.exit_code == 2
    return str(caught.value)


def _in_own_process(script, *arguments):
    """Runs `script`, which shows that it needs no torch."""
    command = [sys.executable, "-c", script, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_every_task_answers_as_eager_does(made):
    models, _, fleet, _ = made
    bundle = open_bundle(fleet)
    for name, model in models.items():
        expected = np.stack(eager_logits(model.module, ROWS))
        got = np.stack(LocalDevice().run(fleet, bundle.program, ROWS, task=name))
        assert got.shape == expected.shape
        assert np.abs(expected).max() > 0.01
        assert np.abs(got - expected).max() < 1e-4


def test_tasks_differ_so_that_one_in_anothers_place_would_show(made):
    models, _, _, _ = made
    first, second = (np.stack(eager_logits(models[name].module, ROWS))[:, :2] for name in ("three", "pair"))
    assert np.abs(first - second).max() > 0.05


def test_the_report_counts_backbone_and_tasks(made):
    _, _, fleet, result = made
    listed = list_tasks(fleet)
    assert list(listed["tasks"]) == ["three", "pair", "score"]
    assert result["fused_memories"] == 2
    assert result["parity"]["label_agreement"] == 1
    for name, row in listed["tasks"].items():
        assert row["bytes"] == (fleet / "tasks" / f"{name}.safetensors").stat().st_size
    assert listed["fleet_bytes"] < listed["separate_bytes"]
    assert result["fallback_ops"]["spartan::memory_lookup.packed"] == 2


def test_run_and_verify_take_a_task(made):
    _, _, fleet, _ = made
    answers = run_bundle(fleet, text="a good film", task="pair")
    assert set(answers[0]["scores"]) == {"x", "y"}
    assert "score" in run_bundle(fleet, text="a good film", task="score")[0]
    own_file = str(fleet / "tasks" / "pair.safetensors")
    assert run_bundle(fleet, text="a good film", task=own_file) == answers
    _refused("three, pair, score", run_bundle, fleet, text="a good film")
    _refused("no task `four`", run_bundle, fleet, text="a good film", task="four")


def test_a_task_keeps_how_many_texts_it_takes(made, tmp_path):
    """The one that says so refuses two; tasks that do not say take either."""
    _, _, fleet, _ = made
    tasks = open_bundle(fleet).manifest["fleet"]["tasks"]
    assert {name: row["pairs"] for name, row in tasks.items()} == {"three": False, "pair": None, "score": None}
    two = {"text": "a good film", "text_pair": "who was born"}
    for task in ("three", str(fleet / "tasks" / "three.safetensors")):
        _refused("a second text, and the model takes one", run_bundle, fleet, **two, task=task)
    assert run_bundle(fleet, **two, task="pair")[0]["label"] in ("x", "y")
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps(two | {"label": "a"}) + "\n")
    _refused("line 1: a second text", run_bundle, fleet, data=rows, task="three")
    _refused(
        "line 1: a second text",
        verify_bundle,
        VerifyRequest(bundle=fleet, model=made[1]["three"], data=rows, task="three"),
    )


def test_classify_takes_a_list_of_texts_and_names_the_row_that_it_cannot_answer(made):
    script = """
import json, sys
from spartanc.errors import SpartancError
from spartanc.runtime_py.fleet import Fleet
found = []
with Fleet(sys.argv[1], threads=1) as fleet:
    for texts in ("a good film", ["a film", ("a", "b")], ["a film", " "], ["a film", None], ["a film", "\\u200b"]):
        try:
            found.append(fleet.classify(texts, "three"))
        except SpartancError as error:
            found.append([error.exit_code, error.message])
    found.append([answer["label"] for answer in fleet.classify(["a good film", ("a film", "")], "three")])
print(json.dumps(found))
"""
    bare, pair, empty, missing, invisible, good = _in_own_process(script, made[2])
    assert bare == [2, "expected a list of texts, got one str"]
    assert pair == [2, "row 2: a second text, and the model takes one"]
    assert empty == [2, "row 2: the text is empty"]
    assert missing == [2, "text 2 is neither a text nor a tuple of two, got `None`"]
    assert len(good) == 2 and set(good) <= {"a", "b", "c"}
    # This tokenizer has a token for anything unknown.
    assert invisible[1]["label"] in ("a", "b", "c")


def test_one_program_answers_rows_of_different_tasks_in_one_pass_and_from_two_threads(made, tmp_path):
    models, _, fleet, _ = made
    order = ["three", "pair", "score", "pair", "three", "score", "three", "pair"]
    script = """
import json, sys, threading
import numpy as np
from spartanc.runtime_py.fleet import Fleet
from spartanc.runtime_py.safetensors_file import read_tensors
fleet_path, order, rows = sys.argv[1], json.loads(sys.argv[2]), read_tensors(__import__("pathlib").Path(sys.argv[3]))
rows = [(rows[f"ids{i}"], rows[f"mask{i}"]) for i in range(len(order))]
result = {}
for sessions in (1, 2):
    with Fleet(fleet_path, sessions=sessions, threads=1) as fleet:
        mixed = [row.tolist() for row in fleet.logits(rows, order)]
        found = {}
        def work(task):
            found[task] = [[row.tolist() for row in fleet.logits(rows, task)] for _ in range(20)]
        threads = [threading.Thread(target=work, args=(task,)) for task in ("three", "pair", "three")]
        [thread.start() for thread in threads]; [thread.join() for thread in threads]
        texts = fleet.classify(["a good film", "a good film"], ["pair", "score"])
        result[sessions] = {"mixed": mixed, "threads": found, "texts": texts, "tasks": fleet.tasks}
assert "torch" not in sys.modules
print(json.dumps(result))
"""
    file = tmp_path / "rows.safetensors"
    named = {f"ids{i}": ids for i, (ids, _) in enumerate(ROWS)} | {f"mask{i}": mask for i, (_, mask) in enumerate(ROWS)}
    write_tensors(file, named)
    assert len(ROWS) == len(order)
    expected = {name: eager_logits(model.module, ROWS) for name, model in models.items()}
    for result in _in_own_process(script, fleet, json.dumps(order), file).values():
        for row, (name, logits) in enumerate(zip(order, result["mixed"], strict=True)):
            np.testing.assert_allclose(logits, expected[name][row], atol=1e-4)
        for name, runs in result["threads"].items():
            for run in runs:
                assert run == runs[0]
            for logits, reference in zip(runs[0], expected[name], strict=True):
                np.testing.assert_allclose(logits, reference, atol=1e-4)
        assert result["texts"][0]["label"] in ("x", "y")
        assert "score" in result["texts"][1]


def test_a_removed_task_is_gone_and_can_be_added_again(made, fleet):
    before = (fleet / "tasks" / "pair.safetensors").read_bytes()
    inode = (fleet / "model.pte").stat().st_ino
    remove_task(fleet, "pair")
    assert list(list_tasks(fleet)["tasks"]) == ["three", "score"]
    _refused("no task `pair`", run_bundle, fleet, text="a good film", task="pair")
    _refused("no task `pair`", remove_task, fleet, "pair")
    add_task(fleet, made[1]["pair"])
    assert (fleet / "tasks" / "pair.safetensors").read_bytes() == before
    assert (fleet / "model.pte").stat().st_ino == inode  # linked: the program was not so much as copied
    _refused("has a task `pair` already", add_task, fleet, made[1]["pair"])
    assert [path.name for path in fleet.parent.iterdir()] == ["fleet"]


def test_two_changes_at_once_both_hold(made, fleet, monkeypatch):
    """A task is proved for a while, and others may change the fleet meanwhile."""
    others = [lambda: add_task(fleet, made[1]["pair"], "other"), lambda: remove_task(fleet, "three")]
    prove = Member.prove

    def prove_while_others_change(member, *arguments):
        prove(member, *arguments)
        if others:
            others.pop(0)()

    monkeypatch.setattr(Member, "prove", prove_while_others_change)
    add_task(fleet, made[1]["pair"], "again")
    assert not others
    assert list(list_tasks(fleet)["tasks"]) == ["pair", "score", "other", "again"]
    for task in ("again", "other"):
        assert run_bundle(fleet, text="a good film", text_pair="a bad film", task=task)


def test_a_task_of_the_same_name_that_came_meanwhile_is_kept(made, fleet, monkeypatch):
    other, prove = fleet / "tasks" / "new.safetensors", Member.prove

    def prove_while_others_add(member, *arguments):
        prove(member, *arguments)
        if not other.exists():
            shutil.copy(fleet / "tasks" / "score.safetensors", other)
            _seal(fleet, new=_manifest(fleet)["fleet"]["tasks"]["score"] | {"file": "tasks/new.safetensors"})

    monkeypatch.setattr(Member, "prove", prove_while_others_add)
    _refused("has a task `new` already", add_task, fleet, made[1]["pair"], "new")
    assert other.read_bytes() == (fleet / "tasks" / "score.safetensors").read_bytes()


def test_a_fleet_that_was_replaced_meanwhile_is_left_alone(made, fleet, monkeypatch):
    prove = Member.prove

    def prove_while_another_fleet_comes(member, *arguments):
        prove(member, *arguments)
        (fleet / "tokenizer.json").write_text("{}")
        _seal(fleet)

    monkeypatch.setattr(Member, "prove", prove_while_another_fleet_comes)
    _refused("replaced by another one meanwhile", add_task, fleet, made[1]["pair"], "new")
    assert list(list_tasks(fleet)["tasks"]) == ["three", "pair", "score"]


def test_of_two_tasks_that_are_removed_at_once_both_go(made, fleet, monkeypatch):
    locked = fleets.replaced_whole

    def after_another(path):
        monkeypatch.setattr(fleets, "replaced_whole", locked)
        remove_task(path, "pair")
        return locked(path)

    monkeypatch.setattr(fleets, "replaced_whole", after_another)
    assert remove_task(fleet, "three")["tasks"] == ["score"]
    assert list(list_tasks(fleet)["tasks"]) == ["score"]


def _manifest(fleet):
    return json.loads((fleet / "manifest.json").read_text())


def _seal(fleet, **tasks):
    """The manifest anew, of the files that are there, with further tasks."""
    manifest = _manifest(fleet)
    manifest["fleet"]["tasks"] |= tasks
    for name in ("manifest.json", "manifest.sha256"):
        (fleet / name).unlink()
    write_manifest(fleet, manifest)


def test_a_fleet_reached_by_a_link_is_changed_where_it_is(made, fleet):
    link = fleet.with_name("current")
    link.symlink_to("fleet")
    remove_task(link, "pair")
    add_task(link, made[1]["pair"], "again")
    assert os.readlink(link) == "fleet"
    assert list(list_tasks(fleet)["tasks"]) == list(list_tasks(link)["tasks"]) == ["three", "score", "again"]
    assert sorted(path.name for path in fleet.parent.iterdir()) == ["current", "fleet"]


def test_a_change_that_fails_leaves_the_fleet_as_it_was(made, fleet, monkeypatch):
    def fail(*_arguments):
        raise KeyboardInterrupt

    before = {path: path.read_bytes() for path in fleet.rglob("*") if path.is_file()}
    monkeypatch.setattr("spartanc.compiler.fleet.write_manifest", fail)
    with pytest.raises(KeyboardInterrupt):
        remove_task(fleet, "pair")
    assert {path: path.read_bytes() for path in fleet.rglob("*") if path.is_file()} == before
    assert [path.name for path in fleet.parent.iterdir()] == ["fleet"]


def test_one_changed_value_of_the_backbone_is_refused_with_the_tensor_and_both_digests(made, fleet, tmp_path):
    models, _, _, _ = made
    name = "network.bert.encoder.layer.1.layer.attention.self.key.weight"
    other = on_backbone_of(models["three"], tiny_model("bert", seed=3))
    with torch.no_grad():
        dict(other.module.named_parameters())[name][0, 0] += 1e-6
    save_model(other, tmp_path / "other.pt")
    message = _refused("backbone", add_task, fleet, tmp_path / "other.pt")
    assert name in message
    assert message.count("digest `") == 1
    assert len([word for word in message.replace("`", " ").split() if len(word) == 64]) == 3
    _refused(name, _compile, [made[1]["three"], tmp_path / "other.pt"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_another_tokenizer_is_refused(made, fleet, tmp_path):
    other = on_backbone_of(made[0]["three"], tiny_model("bert", seed=3))
    other.tokenizer = other.tokenizer.replace('"mountain"', '"valley"')
    save_model(other, tmp_path / "other.pt")
    _refused("another tokenizer", add_task, fleet, tmp_path / "other.pt")


def test_a_layer_norm_that_the_program_lacks_is_refused(made, fleet, tmp_path):
    config = SpartanConfig(parents=4, cells=12, top_k=2, layer_norm="post")
    other = on_backbone_of(made[0]["three"], tiny_model("bert", seed=3, spartan=config))
    other.eval_examples = made[0]["three"].eval_examples
    save_model(other, tmp_path / "other.pt")
    _refused("another computation", add_task, fleet, tmp_path / "other.pt")


def test_too_many_labels_or_cells_are_refused_with_both_numbers(made, fleet, tmp_path):
    labels = tuple(f"label{number}" for number in range(129))
    save_model(on_backbone_of(made[0]["three"], tiny_model("bert", labels=labels)), tmp_path / "labels.pt")
    _refused("129 classes, the fleet's program takes 1 to 128", add_task, fleet, tmp_path / "labels.pt")
    config = SpartanConfig(parents=4, cells=600, top_k=2)
    save_model(on_backbone_of(made[0]["three"], tiny_model("bert", spartan=config)), tmp_path / "cells.pt")
    _refused("600 cells, the fleet's program takes 1 to 512", add_task, fleet, tmp_path / "cells.pt")


def test_wrong_combinations_are_refused_before_any_work(made, tmp_path):
    paths = made[1]
    _refused("torchscript", _compile, [paths["three"]], tmp_path / "out", format="torchscript")
    _refused("two models give the task", _compile, [paths["three"], paths["three"]], tmp_path / "out")
    _refused("--data", _compile, [paths["three"], paths["pair"]], tmp_path / "out", data=tmp_path / "rows.jsonl")
    assert not (tmp_path / "out").exists()


def _native(fleet, task, ids):
    command = [build_runtime("host") / COMMAND, "run", fleet, "--task", task, "--ids", ids, "--json"]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, errors="replace")


@pytest.fixture
def ids(tmp_path):
    write_tensors(tmp_path / "ids.safetensors", {"input_ids": ROWS[3][0], "attention_mask": ROWS[3][1]})
    return tmp_path / "ids.safetensors"


def test_a_torn_task_is_refused_by_its_name_everywhere_and_the_others_answer(fleet, ids, made):
    sound = {name: _native(fleet, name, ids).stdout for name in ("three", "score")}
    answers = run_bundle(fleet, text="a good film", task="three")
    os.truncate(fleet / "tasks" / "pair.safetensors", 0)
    assert run_bundle(fleet, text="a good film", task="three") == answers
    assert any("`pair`" in note for note in answer_rows(fleet, text="a good film", task="three").notes)
    _refused("task `pair`.*0 bytes", run_bundle, fleet, text="a good film", task="pair")
    for name, stdout in sound.items():
        done = _native(fleet, name, ids)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["rows"] == json.loads(stdout)["rows"]
        assert "warning: the task `pair`" in done.stderr
    refused = _native(fleet, "pair", ids)
    assert refused.returncode == 2
    assert "task `pair`" in refused.stderr
    assert "0 bytes" in refused.stderr
    (fleet / "tasks" / "pair.safetensors").unlink()
    assert run_bundle(fleet, text="a good film", task="three") == answers
    _refused("task `pair`.*missing", run_bundle, fleet, text="a good film", task="pair")
    assert _native(fleet, "three", ids).returncode == 0
    missing = _native(fleet, "pair", ids)
    assert missing.returncode == 2
    assert "is missing" in missing.stderr
    (fleet / "tasks" / "pair.safetensors").symlink_to("three.safetensors")  # no accident leaves that
    _refused("not a plain file", run_bundle, fleet, text="a good film", task="three")
    assert _native(fleet, "three", ids).returncode == 2


def test_a_fleet_with_a_torn_task_is_not_sealed_anew_but_without_it(fleet, made, tmp_path):
    """A manifest of what is torn would make it good."""
    os.truncate(fleet / "tasks" / "pair.safetensors", 0)
    before = (fleet / "manifest.json").read_bytes()
    check = [str(build_runtime("host") / COMMAND), "check", str(fleet)]
    assert subprocess.run(check, capture_output=True).returncode == 2
    assert subprocess.run([*check, "--task", "three"], capture_output=True).returncode == 0
    for action, arguments in (
        (add_task, (made[1]["score"], "more")),
        (remove_task, ("three",)),
        (list_tasks, ()),
        (inspect_path, ()),
    ):
        _refused("tasks/pair.safetensors.*0 bytes", action, fleet, *arguments)
    assert (fleet / "manifest.json").read_bytes() == before
    remove_task(fleet, "pair")
    assert list(list_tasks(fleet)["tasks"]) == ["three", "score"]
    assert run_bundle(fleet, text="a good film", task="three")


def test_a_program_that_is_called_a_task_is_no_task(fleet):
    """What every answer depends on is never taken damaged."""
    manifest = json.loads((fleet / "manifest.json").read_text())
    (fleet / "model.pte").rename(fleet / "tasks" / "model.pte")
    manifest["files"]["tasks/model.pte"] = manifest["files"].pop("model.pte")
    manifest["program"] = manifest["fleet"]["tasks"]["pair"]["file"] = "tasks/model.pte"
    data = json.dumps(manifest).encode()
    (fleet / "manifest.json").write_bytes(data)
    (fleet / "manifest.sha256").write_text(manifest_digest_line(hashlib.sha256(data).hexdigest()))
    check = [str(build_runtime("host") / COMMAND), "check", str(fleet), "--task", "three"]
    assert subprocess.run(check, capture_output=True).returncode == 0
    os.truncate(fleet / "tasks" / "model.pte", 1000)
    assert subprocess.run(check, capture_output=True).returncode == 2
    _refused("1000 bytes", open_bundle, fleet, task_by_task=True)


def test_the_native_command_refuses_what_python_refuses(made, tmp_path, ids):
    _, _, fleet, _ = made
    sound = (fleet / "tasks" / "three.safetensors").read_bytes()
    assert _native(fleet, "three", ids).returncode == 0
    file = tmp_path / "task.safetensors"
    interface = read_interface(open_bundle(fleet).manifest, fleet)

    def changed_memory(header):
        said = json.loads(header["__metadata__"]["task"])
        header["__metadata__"]["task"] = json.dumps(said | {"memory": said["memory"] | {"cells": 16}})

    def changed(**changes):
        def change(header):
            said = json.loads(header["__metadata__"]["task"])
            header["__metadata__"]["task"] = json.dumps(said | changes)

        return change

    wrong = {
        "backbone": task_files.with_header(sound, changed(backbone="ef" * 32)),
        "quantised": task_files.with_header(sound, changed(quantization="int8")),
        "labels": task_files.with_header(sound, changed(labels=["a", "b"])),
        "probe": task_files.with_header(sound, changed(probe={"logits": [[1.0]]})),
        "shape of the task's memory|takes": task_files.with_header(sound, changed_memory),
        "digest": sound[:-1] + bytes([sound[-1] ^ 1]),
        "too short|header": sound[:50],
        "tensor": task_files.with_header(sound, lambda header: header.pop("network.classifier.bias")),
    }
    for name, data in wrong.items():
        file.write_bytes(data)
        done = _native(fleet, file, ids)
        assert done.returncode == 2, (name, done.stderr)
        assert done.stderr.startswith("error: ")
        with pytest.raises(UsageError):
            check_task(open_task(file), interface)


def test_every_mismatch_names_both_sides_in_both_readers(made, tmp_path, ids):
    _, _, fleet, _ = made
    sound = (fleet / "tasks" / "three.safetensors").read_bytes()
    interface = read_interface(open_bundle(fleet).manifest, fleet)
    file = tmp_path / "task.safetensors"
    recorded = re.search(rb'"digest":"([0-9a-f]{64})"', sound)[1].decode()

    def resaid(change):
        def edit(header):
            metadata = header["__metadata__"]
            task = json.loads(metadata["task"])
            change(task)
            metadata["task"] = json.dumps(task)

        return task_files.with_header(sound, edit)

    def with_layout(task):
        task["memory"]["top_k"] = 1

    flipped = bytearray(sound)
    flipped[len(sound) // 2] ^= 4
    wrong = {
        "another backbone": (resaid(lambda task: task.update(backbone="ef" * 32)), ["ef" * 32, interface.backbone]),
        "a flipped bit": (bytes(flipped), [digest_of_task(flipped), recorded]),
        "cut short": (sound[:-64], [digest_of_task(sound[:-64]), recorded]),
        "other quantisation": (resaid(lambda task: task.update(quantization="int8")), ["`int8`", "`none`"]),
        "too many labels": (resaid(too_many_labels), ["129 classes", "1 to 128"]),
        "another shape of the memory": (resaid(with_layout), ["[4, 12, 2]", "[4, 12, 1]"]),
        "another number of labels": (resaid(one_label_more), ["[3, 32]", "[4, 32]"]),
    }
    for name, (data, both) in wrong.items():
        file.write_bytes(data)
        done = _native(fleet, file, ids)
        assert done.returncode == 2, (name, done.stderr)
        with pytest.raises(UsageError) as caught:
            check_task(open_task(file), interface)
        assert caught.value.exit_code == 2
        for message in (done.stderr, str(caught.value)):
            assert all(side in message for side in both), (name, message)


def digest_of_task(data):
    """Of a file of tasks as it stands: its own digest, taken as zeros."""
    return reseal(bytearray(data))


def too_many_labels(task):
    task["labels"] = [f"label{number}" for number in range(129)]
    task["probe"]["logits"] = [[0.0] * 129]


def one_label_more(task):
    task["labels"] += ["one more"]
    task["probe"]["logits"][0] += [0.0]


def test_a_task_whose_weights_changed_with_its_digest_fails_its_probe(made, tmp_path, ids):
    _, _, fleet, _ = made
    sound = (fleet / "tasks" / "three.safetensors").read_bytes()
    data = bytearray(sound)
    array = np.frombuffer(data, np.float32, offset=len(data) - 400)
    array *= 3
    file = tmp_path / "task.safetensors"
    file.write_bytes(task_files.with_header(bytes(data), lambda header: None))
    done = _native(fleet, file, ids)
    assert done.returncode == 2
    assert re.search(r"its probe gives the logits `[-0-9., ]+`, expected `[-0-9., ]+` to within", done.stderr)
    script = """
import json, sys
from spartanc.errors import UsageError
from spartanc.runtime_py.fleet import Fleet
with Fleet(sys.argv[1]) as fleet:
    try:
        fleet.open(sys.argv[2])
    except UsageError as error:
        print(json.dumps([error.exit_code, str(error)]))
"""
    code, message = _in_own_process(script, fleet, file)
    assert code == 2
    assert re.search(r"its probe gives the logits `[-0-9., ]+`, expected `[-0-9., ]+` to within", message)


@pytest.mark.parametrize("sealed", [False, True])
def test_random_mutations_never_crash_the_native_command(made, tmp_path, ids, sealed):
    _, _, fleet, _ = made
    sound = (fleet / "tasks" / "three.safetensors").read_bytes()
    generator = np.random.default_rng(7)
    file = tmp_path / "task.safetensors"
    for number in range(60):
        file.unlink(missing_ok=True)
        file.write_bytes(task_files.mutate(sound, generator, sealed))
        done = _native(fleet, file, ids)
        assert done.returncode in ((0, 2) if sealed else (2,)), (number, done.returncode, done.stderr)


def test_int8_tasks_bring_int8_cells_and_an_int8_head(tmp_path):
    models = tiny_tasks("roberta")
    paths = save_tasks(models, tmp_path)
    _compile([paths["three"], paths["pair"]], tmp_path / "fleet", quantize="int8")
    bundle = open_bundle(tmp_path / "fleet")
    types = {each["name"]: each["dtype"] for each in bundle.manifest["fleet"]["inputs"]}
    assert types["head.0.weight"] == types["memories.0.key_cells"] == types["memories.1.value_cells"] == "I8"
    assert types["memories.0.logit_weights"] == "F16"
    assert types["network.classifier.out_proj.weight"] == "F32"
    assert types["memories.0.key_scales"] == "F32"
    for name in ("three", "pair"):
        expected = np.stack(eager_logits(models[name].module, ROWS))
        got = np.stack(LocalDevice().run(bundle.path, bundle.program, ROWS, task=name))
        assert np.abs(got - expected).max() < 0.1 * float(np.ptp(expected))


# With 4 bits the random regression `score` keeps a correlation of 0.994 with eager: a gate of 0.999 refuses it.
@pytest.mark.parametrize(
    ("quantize", "tasks"), [("int8", ("three", "pair")), ("int4-memories", ("pair",)), ("int4", ("pair",))]
)
def test_a_quantised_fleet_answers_as_its_tasks_own_bundles(tmp_path, quantize, tasks):
    paths = save_tasks(tiny_tasks("bert"), tmp_path)
    _compile([paths[name] for name in tasks], tmp_path / "fleet", quantize=quantize)
    fleet = open_bundle(tmp_path / "fleet")
    types = {each["name"]: each["dtype"] for each in fleet.manifest["fleet"]["inputs"]}
    assert types["memories.1.key_cells"] == types["memories.0.value_cells"] == ("I8" if quantize == "int8" else "U8")
    for name in tasks:
        out = tmp_path / name
        request = {"target": "host", "out": out, "max_length": MAX_LENGTH, "quantize": quantize}
        compile_model(CompileRequest(models=(paths[name],), **request))
        own = np.stack(LocalDevice().run(out, open_bundle(out).program, ROWS))
        shared = np.stack(LocalDevice().run(fleet.path, fleet.program, ROWS, task=name))
        assert np.abs(own).max() > 0.01
        # Encoder and memories are the same to the bit; the last layer is one product in fp32, summed in two orders.
        np.testing.assert_allclose(shared, own, atol=2e-6)


@pytest.mark.qemu
@pytest.mark.skipif(not is_ready("rpi4"), reason="`spartanc setup rpi4` was not run")
def test_a_fleet_on_an_emulated_board_answers_as_its_tasks_own_bundles(tmp_path):
    models = tiny_tasks("bert")
    paths = save_tasks(models, tmp_path)
    options = {"target": "rpi4", "max_length": MAX_LENGTH, "quantize": "int8"}
    names = ("pair", "score")
    shared = {"models": tuple(paths[name] for name in names), "out": tmp_path / "fleet", "shared_backbone": True}
    compile_model(CompileRequest(**shared, **options))
    fleet = open_bundle(tmp_path / "fleet")
    for name in names:
        compile_model(CompileRequest(models=(paths[name],), out=tmp_path / name, **options))
        own = np.stack(QemuDevice("rpi4").run(tmp_path / name, open_bundle(tmp_path / name).program, ROWS))
        found = np.stack(QemuDevice("rpi4").run(fleet.path, fleet.program, ROWS, task=name))
        expected = np.stack(eager_logits(models[name].module, ROWS))
        assert np.abs(found - expected).max() < 0.1 * float(np.ptp(expected))
        np.testing.assert_allclose(found, own, atol=2e-6)


def test_an_older_int4_fleet_takes_tasks_as_what_it_is(tmp_path):
    """Its word says `int4`, nothing of it says that linears are of 4 bits: its tasks are those of `int4-memories`."""
    paths = save_tasks(tiny_tasks("bert"), tmp_path)
    fleet = tmp_path / "fleet"
    _compile([paths["pair"]], fleet, quantize="int4-memories")
    remove_task(fleet, "pair")
    manifest = json.loads((fleet / "manifest.json").read_text())
    del manifest["linears"]["bits"]
    manifest["quantization"] = manifest["fleet"]["quantization"] = "int4"
    reseal_bundle(fleet, json.dumps(manifest))
    add_task(fleet, paths["pair"])
    assert open_task(fleet / "tasks" / "pair.safetensors").quantization == "int4"
    assert list_tasks(fleet)["quantization"] == "int4-memories"
    assert len(LocalDevice().run(fleet, open_bundle(fleet).program, ROWS, task="pair")) == len(ROWS)


def test_an_int4_fleet_of_a_width_that_groups_do_not_divide_is_refused(tmp_path):
    models = {"a": tiny_model("bert", hidden=24), "b": tiny_model("bert", hidden=24)}
    paths = save_tasks(models, tmp_path)
    _refused("groups of 32, .* hidden size 24", _compile, list(paths.values()), tmp_path / "out", quantize="int4")
    assert not (tmp_path / "out").exists()


def test_portable_programs_take_fp32_tasks_on_stock_runtimes(tmp_path):
    models = tiny_tasks("bert")
    paths = save_tasks(models, tmp_path)
    result = _compile([paths["three"], paths["pair"]], tmp_path / "fleet", quantize="int8", lowering="portable")
    assert not any(operator.startswith("spartan::") for operator in result["fallback_ops"])
    bundle = open_bundle(tmp_path / "fleet")
    interface = read_interface(bundle.manifest, bundle.path)
    assert interface.quantization == "none"
    for name in ("three", "pair"):
        task = open_task(bundle.path / "tasks" / f"{name}.safetensors")
        check_task(task, interface)
        assert {array.dtype for array in task.tensors.values()} == {np.dtype(np.float32)}
        expected = np.stack(eager_logits(models[name].module, ROWS))
        got = np.stack(StockDevice().run(bundle.path, bundle.program, ROWS, inputs=task.tensors, keep_padding=True))
        assert np.abs(got - expected).max() < 0.1 * float(np.ptp(expected))


def test_a_fleet_is_readable_by_others(made):
    assert os.access(made[2], os.R_OK | os.X_OK)
    assert (made[2].stat().st_mode & 0o777) == 0o755
