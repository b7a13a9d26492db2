"""The `spartan` command: what it prints, and what it refuses."""

import json
import os
import struct
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from spartanc.runtime_py.build import COMMAND, build_runtime
from support.bundles import make_bundle, probe_of, seal
from support.programs import CLASSES, MAX_LENGTH, eager_logits, tiny_rows


@pytest.fixture(scope="module")
def spartan():
    command = build_runtime("host") / COMMAND

    def run(*arguments):
        return subprocess.run([command, *map(str, arguments)], capture_output=True, text=True)

    return run


@pytest.fixture
def ids(tmp_path):
    """A file of padded rows as `safetensors` itself writes it."""
    rows = tiny_rows()
    ids_NL = np.zeros((len(rows), MAX_LENGTH), np.int64)
    mask_NL = np.zeros_like(ids_NL)
    for i, (row, mask) in enumerate(rows):
        ids_NL[i, : row.shape[1]], mask_NL[i, : row.shape[1]] = row[0], mask[0]
    save_file({"input_ids": ids_NL, "attention_mask": mask_NL}, tmp_path / "ids.safetensors")
    return tmp_path / "ids.safetensors"


def test_logits_written_and_printed_agree_with_eager(tiny, spartan, ids, tmp_path):
    path, module = tiny
    expected = np.stack(eager_logits(module, tiny_rows()))
    done = spartan("run", path, "--ids", ids, "--out", tmp_path / "out.safetensors", "--json")
    assert done.returncode == 0, done.stderr
    written = load_file(tmp_path / "out.safetensors")["logits"]
    assert written.shape == (len(expected), CLASSES)
    assert np.abs(written - expected).max() < 1e-5
    printed = json.loads(done.stdout)
    assert np.array_equal(np.array([row["logits"] for row in printed["rows"]], np.float32), written)
    assert [row["label"] for row in printed["rows"]] == expected.argmax(-1).tolist()
    assert len(printed["run_ms"]) == len(expected)


def test_padding_is_cut_unless_kept(tiny, spartan, ids):
    cut = json.loads(spartan("run", tiny[0], "--ids", ids, "--json").stdout)["rows"]
    kept = json.loads(spartan("run", tiny[0], "--ids", ids, "--json", "--keep-padding").stdout)["rows"]
    for a, b in zip(cut, kept, strict=True):
        assert np.abs(np.array(a["logits"]) - np.array(b["logits"])).max() < 1e-6


def test_inputs_are_held_to_the_manifest(tiny, spartan, ids, tmp_path):
    def said(batch):
        return [{"name": name, "dtype": "int64", "shape": [batch, "L"]} for name in ("input_ids", "attention_mask")]

    assert spartan("run", make_bundle(tmp_path / "sound", tiny[0], inputs=said(1)), "--ids", ids).returncode == 0
    shorter = spartan("run", make_bundle(tmp_path / "short", tiny[0], inputs=said(1), max_length=8), "--ids", ids)
    assert shorter.returncode == 2
    assert "within 1 and 8" in shorter.stderr
    for number, wrong in enumerate(({"inputs": said(7)}, {"inputs": said(1), "max_length": 999})):
        done = spartan("run", make_bundle(tmp_path / str(number), tiny[0], **wrong), "--ids", ids)
        assert done.returncode == 2
        assert "the manifest does not describe its program" in done.stderr


def test_a_program_that_cannot_be_padded_so_far_is_refused(tiny, spartan, ids, tmp_path):
    inputs = [{"name": name, "dtype": "int64", "shape": [1, 4]} for name in ("input_ids", "attention_mask")]
    wrong = make_bundle(tmp_path / "wrong", tiny[0], format_version=2, inputs=inputs, min_length=5)
    done = spartan("run", wrong, "--ids", ids)
    assert done.returncode == 2
    assert (
        "the manifest does not describe its program: the least length of input 0 must be within 4 and 4" in done.stderr
    )


def test_bench_prints_every_run_of_both_programs(tiny, spartan):
    done = spartan("bench", tiny[0], "--baseline", tiny[0], "--length", 7, "--max-runs", 25, "--warmup", 3)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["length"] == 7
    assert len(result["programs"]) == 2
    for program in result["programs"]:
        assert len(program["warmup_ns"]) == 3
        assert 20 <= len(program["run_ns"]) <= 25
        assert min(program["run_ns"]) > 0
    assert result["clock_resolution_ns"] > 0


def test_bench_takes_the_longest_input_if_no_length_is_given(tiny, spartan, tmp_path):
    """Of the program or its manifest, and at most 128: what docs/on-a-pi.md shows is the whole command."""
    shorter = make_bundle(tmp_path / "shorter", tiny[0], max_length=8)
    for given, length in (((tiny[0],), MAX_LENGTH), ((shorter,), 8), ((tiny[0], "--baseline", shorter), 8)):
        done = spartan("bench", *given, "--max-runs", 5, "--warmup", 1)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["length"] == length


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one processor alone")
def test_a_pinned_bench_counts_its_own_processors_alone(tiny, spartan):
    allowed = sorted(os.sched_getaffinity(0))
    burner = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    os.sched_setaffinity(burner.pid, {allowed[0]})
    os.sched_setaffinity(0, {allowed[-1]})  # children have it too
    try:
        words = ("--length", 7, "--min-seconds", 1.5, "--seconds", 1.5, "--max-runs", 1000000, "--precision", 0)
        found = json.loads(spartan("bench", tiny[0], *words).stdout)
    finally:
        os.sched_setaffinity(0, set(allowed))
        burner.kill()
        burner.wait()
    before, after = found["before"], found["after"]
    assert found["processors"] == 1
    assert after["online"] >= len(allowed)
    ticks = (after["wall_ns"] - before["wall_ns"]) / 1e9 * found["ticks_per_second"]
    # Half of it where half of the processor is ours, and never above all of it, which two busy ones would be.
    assert 0.3 * ticks < after["busy_ticks"] - before["busy_ticks"] < 1.1 * ticks


def test_info_tells_the_bounds(tiny, spartan):
    info = json.loads(spartan("info", tiny[0]).stdout)
    assert info["inputs"] == [{"dtype": "int64", "sizes": [[1, 1], [1, MAX_LENGTH]]}] * 2
    assert info["outputs"] == [{"dtype": "float32", "sizes": [[1, 1], [1, CLASSES]]}]
    assert info["check_ms"] >= 0


def test_the_kernels_that_this_processor_gets_are_named(tiny, spartan, ids, monkeypatch):
    families = {
        "memory_lookup_f32",
        "memory_lookup_quantized",
        "attention_f32",
        "attention_half",
        "layer_norm_f32",
        "linear_int8",
    }
    info = json.loads(spartan("info", tiny[0]).stdout)["kernels"]
    assert families <= set(info)
    assert all(info.values())
    assert json.loads(spartan("run", tiny[0], "--ids", ids, "--json").stdout)["kernels"] == info
    assert json.loads(spartan("bench", tiny[0], "--length", 3, "--max-runs", 20).stdout)["kernels"] == info
    monkeypatch.setenv("SPARTANC_LINEAR_KERNEL", "portable")
    assert json.loads(spartan("info", tiny[0]).stdout)["kernels"] == info | {"linear_int8": "portable"}


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["fly"],
        ["run"],
        ["run", "PROGRAM"],
        ["run", "PROGRAM", "--ids"],
        ["run", "PROGRAM", "--ids", "IDS", "--threads", "0"],
        ["run", "PROGRAM", "--ids", "IDS", "--threads", "two"],
        ["run", "PROGRAM", "--ids", "IDS", "--fast"],
        ["run", "PROGRAM", "PROGRAM", "--ids", "IDS"],
        ["run", "/does/not/exist", "--ids", "IDS"],
        ["run", "PROGRAM", "--ids", "/does/not/exist"],
        ["run", "PROGRAM", "--ids", "IDS", "--out", "/does/not/exist/out"],
        ["bench", "PROGRAM", "--length", "0"],
        ["bench", "PROGRAM", "--length", "3", "--ids", "IDS"],
        ["bench", "PROGRAM", "--length", "1000"],
    ],
)
def test_wrong_use_is_exit_2_with_a_message(tiny, spartan, ids, arguments):
    done = spartan(*[{"PROGRAM": tiny[0], "IDS": ids}.get(word, word) for word in arguments])
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stdout == ""


def header_of(entry, data=b""):
    text = entry if isinstance(entry, bytes) else json.dumps(entry).encode()
    return struct.pack("<Q", len(text)) + text + data


def tensor(dtype="I64", shape=(1, 2), offsets=(0, 16)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


HOSTILE = {
    "empty": b"",
    "short": b"\1\2\3",
    "huge header": struct.pack("<Q", 1 << 62) + b"{}",
    "header past the end": struct.pack("<Q", 100) + b"{}",
    "no JSON": header_of(b"{'a': 1}"),
    "deep JSON": header_of(b"[" * 100000),
    "array": header_of([]),
    "trailing text": header_of(b"{} {}"),
    "unknown dtype": header_of({"input_ids": tensor("I65")}, b"\0" * 16),
    "past the end": header_of({"input_ids": tensor(offsets=(0, 17))}, b"\0" * 16),
    "backwards": header_of({"input_ids": tensor(offsets=(16, 0))}, b"\0" * 16),
    "negative size": header_of({"input_ids": tensor(shape=(-1, 2))}, b"\0" * 16),
    "overflowing size": header_of({"input_ids": tensor(shape=(1 << 62, 1 << 62))}, b"\0" * 16),
    "fraction": header_of({"input_ids": tensor(shape=(1.5, 2))}, b"\0" * 16),
    "wrong size": header_of({"input_ids": tensor(shape=(1, 3))}, b"\0" * 16),
    "overlap": header_of({"input_ids": tensor(), "attention_mask": tensor()}, b"\0" * 16),
    "unused bytes": header_of({"input_ids": tensor()}, b"\0" * 24),
    "twice the same name": header_of(
        b'{"a":{"dtype":"I64","shape":[],"data_offsets":[0,8]},"a":{"dtype":"I64","shape":[],"data_offsets":[8,16]}}',
        b"\0" * 16,
    ),
    "no mask": header_of({"input_ids": tensor()}, b"\0" * 16),
    "no tokens": header_of(
        {
            "input_ids": tensor(shape=(0, 2), offsets=(0, 0)),
            "attention_mask": tensor(shape=(0, 2), offsets=(0, 0)),
        }
    ),
    "empty mask": header_of({"input_ids": tensor(), "attention_mask": tensor(offsets=(16, 32))}, b"\0" * 32),
    "other type": header_of(
        {"input_ids": tensor("I32", offsets=(0, 8)), "attention_mask": tensor("I32", offsets=(8, 16))},
        b"\1" * 16,
    ),
    "other shapes": header_of(
        {"input_ids": tensor(), "attention_mask": tensor(shape=(2, 1), offsets=(16, 32))}, b"\1" * 32
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_ids_file_is_exit_2(tiny, spartan, tmp_path, name):
    (tmp_path / "ids").write_bytes(HOSTILE[name])
    done = spartan("run", tiny[0], "--ids", tmp_path / "ids")
    assert done.returncode == 2, done
    assert done.stderr.startswith("error: ")


def test_an_id_outside_the_vocabulary_is_an_error(tiny, spartan, tmp_path):
    one = np.ones((1, 2), np.int64)
    save_file({"input_ids": one * 5000, "attention_mask": one}, tmp_path / "ids")
    done = spartan("run", tiny[0], "--ids", tmp_path / "ids")
    assert done.returncode == 1
    assert "failed while it ran" in done.stderr


def test_mutated_programs_never_crash_silently(tiny, spartan, tmp_path, ids):
    """A damaged program is refused, answers, or dies alone; in a bundle its digest keeps it out."""
    whole = bytearray(tiny[0].read_bytes())
    generator = np.random.default_rng(0)
    for _ in range(20):
        damaged = bytearray(whole)
        for position in generator.integers(0, len(whole), 8):
            damaged[position] ^= int(generator.integers(1, 256))
        (tmp_path / "damaged.pte").write_bytes(damaged)
        done = spartan("run", tmp_path / "damaged.pte", "--ids", ids)
        assert done.returncode == 0 or done.returncode < 0 or done.stderr.startswith("error: ")


@pytest.fixture
def bundle(tiny, tmp_path):
    folder = make_bundle(tmp_path / "bundle", tiny[0])
    (folder / "runtime").mkdir()
    (folder / "runtime" / "note").write_text("a file in a folder")
    return seal(folder, labels=["a", 'bé "c"', "d"])


@pytest.mark.parametrize(("field", "kind"), [("operators", "operator"), ("backends", "backend")])
def test_what_this_runtime_lacks_is_named_before_anything_is_loaded(bundle, spartan, ids, field, kind):
    seal(bundle, **{field: ["another::one.out"]})
    done = spartan("run", bundle, "--ids", ids)
    assert done.returncode == 2
    assert f"needs the {kind} `another::one.out`" in done.stderr
    seal(bundle, operators=["aten::embedding.out"], backends=["XnnpackBackend"])
    assert spartan("run", bundle, "--ids", ids).returncode == 0


def test_a_program_without_its_effect_is_refused_at_the_probe(bundle, spartan, ids, tiny):
    probe = probe_of(tiny[0])
    probe["logits"][0][1] += 0.01
    seal(bundle, probe=probe)
    done = spartan("run", bundle, "--ids", ids)
    assert done.returncode == 2
    assert "its probe gives the logits `" in done.stderr
    assert f"{probe['logits'][0][1]:.4g}" in done.stderr.split("expected")[1]
    assert done.stdout == ""


def test_a_bundle_answers_with_its_labels(bundle, spartan, ids):
    done = spartan("run", bundle, "--ids", ids, "--json")
    assert done.returncode == 0, done.stderr
    assert {row["label"] for row in json.loads(done.stdout)["rows"]} <= {"a", 'bé "c"', "d"}


@pytest.mark.parametrize(
    "change", ["program", "manifest", "other-file", "missing", "too-many", "link", "no-digest", "escape", "own"]
)
def test_an_altered_bundle_is_not_loaded(bundle, spartan, ids, change):
    from spartanc.base.files import file_digest
    from spartanc.runtime_py.bundle import manifest_digest_line

    if change == "program":
        data = bytearray((bundle / "model.pte").read_bytes())
        data[-1] ^= 1
        (bundle / "model.pte").write_bytes(data)
    elif change == "manifest":
        (bundle / "manifest.json").write_text((bundle / "manifest.json").read_text() + " ")
    elif change == "other-file":
        (bundle / "runtime" / "note").write_text("a file in a FOLDER")
    elif change == "missing":
        (bundle / "runtime" / "note").unlink()
    elif change == "too-many":
        (bundle / "runtime" / "more").write_text("?")
    elif change == "link":
        (bundle / "model.pte").rename(bundle.parent / "elsewhere")
        (bundle / "model.pte").symlink_to(bundle.parent / "elsewhere")
    elif change == "no-digest":
        (bundle / "manifest.sha256").unlink()
    else:
        other = "../ids.safetensors" if change == "escape" else "manifest.sig"
        text = (bundle / "manifest.json").read_text().replace("runtime/note", other)
        (bundle / "manifest.json").write_text(text)
        digest = file_digest(bundle / "manifest.json")
        (bundle / "manifest.sha256").write_text(manifest_digest_line(digest))
    done = spartan("run", bundle, "--ids", ids)
    assert done.returncode == 2
    assert done.stdout == ""
