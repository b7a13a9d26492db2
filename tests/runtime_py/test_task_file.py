"""A task's file is taken whole and as it was written, for the fleet that it was written for, or not at all."""

import copy
import json
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import load_file

from spartanc.errors import UsageError
from spartanc.runtime_py.task_file import check_probe, check_task, open_task, read_interface, reseal
from support import tasks

MUTATIONS = 1500


@pytest.fixture
def path(tmp_path):
    return tasks.write(tmp_path / "answers.safetensors")


@pytest.fixture(scope="module")
def fleet():
    return read_interface(tasks.MANIFEST, "fleet")


def _refused(words, action, *arguments):
    with pytest.raises(UsageError, match=words) as caught:
        action(*arguments)
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_tensors_come_back_as_written_and_are_not_copied(path, fleet):
    task = open_task(path)
    check_task(task, fleet)
    expected = tasks.tensors()
    assert list(task.tensors) == list(expected)
    for name, array in task.tensors.items():
        np.testing.assert_array_equal(array, expected[name])
        assert not array.flags.writeable
        assert not array.flags.owndata
        assert array.ctypes.data % array.itemsize == 0
    assert task.labels == tuple(tasks.LABELS)


@pytest.mark.parametrize("pairs", [True, False, None])
def test_number_of_texts_comes_back_and_files_without_it_are_read(tmp_path, path, pairs):
    assert open_task(tasks.write(tmp_path / "a.safetensors", pairs=pairs)).pairs is pairs
    assert open_task(path).pairs is None
    with pytest.raises(UsageError, match="has `pairs` that are neither"):
        open_task(tasks.write(tmp_path / "b.safetensors", pairs="two"))


def test_safetensors_itself_reads_the_file(path):
    found = load_file(path)
    for name, array in tasks.tensors().items():
        np.testing.assert_array_equal(found[name], array)


def test_one_flipped_bit_anywhere_is_refused(path):
    data = path.read_bytes()
    places = {*range(0, 300), *range(300, len(data), 37), len(data) - 1}
    for place in places:
        for bit in (0, 3, 7):
            changed = bytearray(data)
            changed[place] ^= 1 << bit
            path.write_bytes(changed)
            _refused(".", open_task, path)


def test_every_truncation_is_refused(path):
    data = path.read_bytes()
    for length in {*range(0, 200), *range(200, len(data), 211), len(data) - 1}:
        path.write_bytes(data[:length])
        _refused(".", open_task, path)
    path.write_bytes(data + b"\0")
    _refused("digest", open_task, path)


def test_another_backbone_is_refused_with_both_digests(tmp_path, fleet):
    other = open_task(tasks.write(tmp_path / "t", backbone="cd" * 32))
    message = _refused("backbone", check_task, other, fleet)
    assert "cd" * 32 in message
    assert tasks.BACKBONE in message


def test_another_quantisation_is_refused(tmp_path, fleet):
    _refused("`int8`.*`none`", check_task, open_task(tasks.write(tmp_path / "t", quantization="int8")), fleet)


def test_too_many_labels_are_refused(tmp_path, fleet):
    labels = [str(number) for number in range(9)]
    probe = tasks.said()["probe"] | {"logits": [[0.0] * 9]}
    task = open_task(tasks.write(tmp_path / "t", tasks.tensors(classes=9), labels=labels, probe=probe))
    _refused("9 classes, this fleet takes 1 to 8", check_task, task, fleet)


def test_tensors_of_another_shape_are_refused_with_both_shapes(tmp_path, fleet):
    task = open_task(tasks.write(tmp_path / "t", tasks.tensors(cells=16)))
    _refused(r"12, 2|\[1, 16, 64\], the program takes F32 \[1, 12, 64\]", check_task, task, fleet)


def test_a_tensor_too_few_or_in_another_order_is_refused(tmp_path, fleet):
    given = tasks.tensors()
    few = {name: array for name, array in given.items() if name != "norm.weight"}
    _refused("`classifier.weight` where the program takes `norm.weight`", check_task,
             open_task(tasks.write(tmp_path / "few", few)), fleet)  # fmt: skip
    order = [0, 2, 1, 3, 4]
    swapped = {list(given)[i]: list(given.values())[i] for i in order}
    _refused("where the program takes", check_task, open_task(tasks.write(tmp_path / "swapped", swapped)), fleet)


def test_a_layout_that_the_memory_does_not_have_is_refused(tmp_path, fleet):
    given = tasks.tensors() | {"memories.0.layout": np.array([4, 12, 4000])}
    _refused("4000", check_task, open_task(tasks.write(tmp_path / "t", given)), fleet)


def test_nan_is_refused(tmp_path):
    given = tasks.tensors()
    given["norm.weight"][3] = np.nan
    _refused("NaN", open_task, tasks.write(tmp_path / "t", given))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"labels": ["a"]}, "labels"),
        ({"labels": ["a", "a"]}, "labels"),
        ({"labels": [1, 2, 3]}, "labels"),
        ({"problem": "regression"}, "labels"),
        ({"problem": "guessing"}, "problem"),
        ({"name": "../up"}, "name"),
        ({"backbone": "short"}, "backbone"),
        ({"memory": tasks.said()["memory"] | {"top_k": 9}}, "memory"),
        ({"memory": tasks.said()["memory"] | {"cells": 13}}, "memory"),
        ({"memory": tasks.said()["memory"] | {"parents": True}}, "memory"),
        ({"memory": {}}, "memory"),
        ({"probe": tasks.said()["probe"] | {"input_ids": [[]]}}, "probe"),
        ({"probe": tasks.said()["probe"] | {"attention_mask": [[1]]}}, "probe"),
        ({"probe": tasks.said()["probe"] | {"logits": [[1.0]]}}, "probe"),
        ({"probe": tasks.said()["probe"] | {"tolerance": "none"}}, "probe"),
        ({"extra": 1}, "exactly"),
    ],
)
def test_what_a_task_says_of_itself_is_checked(tmp_path, changes, words):
    _refused(words, open_task, tasks.write(tmp_path / "t", **changes))


def _double_a_name(header):
    header["memories.0.layout2"] = header.pop("memories.0.layout")


@pytest.mark.parametrize(
    "change",
    [
        lambda header: header["norm.weight"].update(shape=[9]),
        lambda header: header["norm.weight"].update(shape=[-8]),
        lambda header: header["norm.weight"].update(shape=[2**61, 2**61]),
        lambda header: header["norm.weight"].update(data_offsets=[0, 32]),
        lambda header: header["norm.weight"].update(dtype="BF16"),
        lambda header: header["norm.weight"].update(dtype=["F32"]),
        lambda header: header["norm.weight"].update(extra=1),
        lambda header: header.pop("memories.0.values"),
        lambda header: header["__metadata__"].update(format="other"),
        lambda header: header["__metadata__"].update(format_version="2"),
        lambda header: header["__metadata__"].update(task="[" * 100_000),
        lambda header: header["__metadata__"].update(task='{"name": NaN}'),
        lambda header: header["__metadata__"].update(task='{"name": "a", "name": "b"}'),
        lambda header: header["__metadata__"].update(task="null"),
        lambda header: header["__metadata__"].update(more="x"),
    ],
)
def test_a_wrong_header_is_refused_though_its_digest_agrees(path, change):
    path.write_bytes(tasks.with_header(path.read_bytes(), change))
    _refused("task file", open_task, path)


def test_files_that_are_none_are_refused(tmp_path):
    _refused("can't be read", open_task, tmp_path / "absent")
    _refused("not a plain file", open_task, tmp_path)
    (tmp_path / "empty").write_bytes(b"")
    _refused("too short", open_task, tmp_path / "empty")


def test_a_probe_that_disagrees_is_refused(path):
    task = open_task(path)
    check_probe(task, np.array([[0.50005, -1.0, 2.0]], np.float32))
    for logits in ([0.5, -1.0, 2.01], [0.5, -1.0], [0.5, -1.0, np.nan]):
        _refused("probe", check_probe, task, np.array(logits, np.float32))


@pytest.mark.parametrize("part", ["backbone", "bounds", "inputs", "quantization"])
def test_a_manifest_that_describes_no_fleet_is_refused(part):
    manifest = copy.deepcopy(tasks.MANIFEST)
    del manifest["fleet"][part]
    _refused("describe a fleet", read_interface, manifest, "fleet")


@pytest.mark.parametrize("sealed", [False, True])
def test_random_mutations_end_in_a_refusal_or_in_a_task_of_the_right_shape(path, fleet, sealed):
    data = path.read_bytes()
    generator = np.random.default_rng(20221130)
    accepted = 0
    for number in range(MUTATIONS):
        path.unlink()
        path.write_bytes(tasks.mutate(data, generator, sealed))
        try:
            task = open_task(path)
            check_task(task, fleet)
        except UsageError:
            continue
        accepted += 1
        assert sealed, f"mutation {number} was accepted with the old digest"
        for each in task.tensors.values():
            assert float(np.abs(each).sum()) >= 0
    assert accepted > 0 or not sealed  # else nothing but refusals was tried


def test_a_board_reads_tasks_without_torch(path):
    script = (
        "import sys; from spartanc.runtime_py.task_file import open_task; open_task(sys.argv[1]);"
        "import spartanc.runtime_py.fleet; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script, str(path)], check=True)


def test_the_digest_covers_the_file_but_for_itself(path):
    data = bytearray(path.read_bytes())
    before = bytes(data)
    assert reseal(data) == open_task(path).digest
    assert bytes(data) == before
    assert (
        json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]["digest"] == open_task(path).digest
    )
