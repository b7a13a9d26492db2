"""A bundle is read whole or refused: whatever is missing, altered, added or out of place ends in exit 2."""

import json
import os

import pytest

from spartanc.errors import UsageError
from spartanc.runtime_py.bundle import open_bundle
from spartanc.runtime_py.task_types.classification import CLASSIFICATION
from support.artifacts import reseal, write_bundle


@pytest.fixture
def bundle(tmp_path):
    return write_bundle(tmp_path / "bundle")


def _refused(path, words="."):
    with pytest.raises(UsageError, match=words) as caught:
        open_bundle(path)
    assert caught.value.exit_code == 2


def test_a_sound_bundle_opens(bundle):
    opened = open_bundle(bundle)
    assert opened.labels == ("no", "yes")
    assert opened.program.read_bytes().startswith(b"program")
    assert opened.tokenizer == "{}"
    assert opened.task_type is CLASSIFICATION


@pytest.mark.parametrize(
    ("word", "linears", "meant"),
    [
        ("int4", {"kernels": "xnnpack", "bits": 4}, "int4"),
        ("int4", {"kernels": "spartan", "reason": "as before there were bits"}, "int4-memories"),
        ("int4", None, "int4-memories"),
        ("int4-memories", {"bits": 8}, "int4-memories"),
        ("int8", {"bits": 8}, "int8"),
    ],
)
def test_int4_without_linears_of_four_bits_is_what_it_was(word, linears, meant, tmp_path):
    said = {} if linears is None else {"linears": linears}
    opened = open_bundle(write_bundle(tmp_path / "bundle", quantization=word, **said))
    assert opened.quantization == meant
    assert opened.manifest["quantization"] == word


@pytest.mark.parametrize("name", ["manifest.json", "manifest.sha256", "model.pte", "runtime/spartan"])
def test_a_missing_file_is_refused(bundle, name):
    (bundle / name).unlink()
    _refused(bundle, name)


@pytest.mark.parametrize("name", ["model.pte", "tokenizer.json", "runtime/spartan", "manifest.json", "manifest.sha256"])
def test_every_flipped_bit_is_refused(bundle, name):
    data = (bundle / name).read_bytes()
    for position in range(0, len(data), max(1, len(data) // 60)):
        changed = bytearray(data)
        changed[position] ^= 1 << position % 8
        (bundle / name).write_bytes(changed)
        _refused(bundle, "bundle")


@pytest.mark.parametrize("name", ["model.pte", "manifest.json", "manifest.sha256"])
def test_a_truncated_or_longer_file_is_refused(bundle, name):
    data = (bundle / name).read_bytes()
    for changed in (data[:-1], data + b"\n", b""):
        (bundle / name).write_bytes(changed)
        _refused(bundle, "bundle")


def test_a_file_too_many_is_refused(bundle):
    (bundle / "extra").write_text("?")
    _refused(bundle, "`extra` is not listed in")


def test_links_are_refused_even_to_equal_content(bundle, tmp_path):
    other = tmp_path / "elsewhere"
    (bundle / "model.pte").rename(other)
    (bundle / "model.pte").symlink_to(other)
    _refused(bundle, "not a plain file")


def test_a_link_to_a_directory_is_refused(bundle, tmp_path):
    (bundle / "more").symlink_to(tmp_path)
    _refused(bundle, "`more`")


def test_a_pipe_in_place_of_a_file_does_not_hang(bundle):
    (bundle / "model.pte").unlink()
    os.mkfifo(bundle / "model.pte")
    _refused(bundle, "not a plain file")


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "a/../../b", "", ".", "a//b", "manifest.json", "a\\b"])
def test_a_name_that_leaves_the_bundle_is_refused_even_when_resealed(bundle, name):
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["files"][name] = {"sha256": "0" * 64, "bytes": 1}
    reseal(bundle, json.dumps(manifest))
    _refused(bundle, "no file of a bundle")


@pytest.mark.parametrize(
    ("field", "value"),
    [("files", []), ("labels", [1]), ("max_length", True), ("max_length", 0), ("program", "other.pte"), ("format", "x"),
     ("format_version", 99), ("files", {"model.pte": {"sha256": "Z" * 64, "bytes": 700}})],
)  # fmt: skip
def test_a_resealed_manifest_with_a_wrong_field_is_refused(bundle, field, value):
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest[field] = value
    reseal(bundle, json.dumps(manifest))
    _refused(bundle)


@pytest.mark.parametrize("text", ["", "[]", "null", "{", "[" * 100_000, '{"format": "spartanc-bundle"}'])
def test_resealed_nonsense_is_refused(bundle, text):
    reseal(bundle, text)
    _refused(bundle)


def test_no_bundle_at_all(tmp_path):
    _refused(tmp_path / "nothing", "not a bundle directory")
    _refused(tmp_path, "manifest.json")
