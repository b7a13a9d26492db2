"""Assets of the demo app: bundles that the stock archive can run, copied whole."""

from __future__ import annotations

import json

import pytest

from spartanc.compiler.android_assets import write_android_assets
from spartanc.compiler.artifact import write_manifest
from spartanc.errors import UsageError
from spartanc.runtime_py.bundle import open_bundle


def make_bundle(path, **changes):
    path.mkdir()
    program = changes.get("program", "model.pte")
    (path / program).write_bytes(b"a program")
    if not changes.pop("without_tokenizer", False):
        (path / "tokenizer.json").write_text("{}")
    if changes.pop("native", False):
        (path / "runtime").mkdir()
        (path / "runtime" / "spartan").write_bytes(b"a command")
    labels = changes.get("labels", ["no", "yes"])
    manifest = {
        "target": "android-arm64",
        "program": program,
        "labels": labels,
        "problem": "classification",
        "max_length": 16,
        "quantization": "none",
        "lowering": "portable",
        "probe": {"input_ids": [[1]], "attention_mask": [[1]], "logits": [[0.5] * len(labels)], "tolerance": 1e-4},
    }
    write_manifest(path, manifest | changes)
    return path


def test_bundle_is_copied_whole_and_still_verifies(tmp_path):
    result = write_android_assets(make_bundle(tmp_path / "sst"), tmp_path / "assets")
    copied = tmp_path / "assets" / "bundles" / "sst"
    assert result["assets"] == str(copied)
    assert open_bundle(copied).labels == ("no", "yes")
    assert set(result["files"]) == {"model.pte", "tokenizer.json", "manifest.json", "manifest.sha256"}


def test_second_bundle_stands_beside_the_first_and_a_new_one_replaces_its_own(tmp_path):
    out = tmp_path / "assets"
    write_android_assets(make_bundle(tmp_path / "sst"), out)
    write_android_assets(make_bundle(tmp_path / "news"), out)
    write_android_assets(make_bundle(tmp_path / "sst2", labels=["a", "b", "c"]), out, "sst")
    assert sorted(entry.name for entry in (out / "bundles").iterdir()) == ["news", "sst"]
    assert open_bundle(out / "bundles" / "sst").labels == ("a", "b", "c")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"lowering": "fused"}, "lowered `fused`"),
        ({"program": "model.ts"}, "the app runs a `.pte`"),
        ({"without_tokenizer": True}, "has no `tokenizer.json`"),
        ({"native": True}, "runtime/spartan"),
    ],
)
def test_bundle_that_the_stock_archive_cannot_run_is_refused(tmp_path, changes, said):
    with pytest.raises(UsageError, match=said):
        write_android_assets(make_bundle(tmp_path / "sst", **changes), tmp_path / "assets")
    assert not (tmp_path / "assets").exists()


def test_altered_bundle_is_refused(tmp_path):
    bundle = make_bundle(tmp_path / "sst")
    (bundle / "model.pte").write_bytes(b"B program")
    with pytest.raises(UsageError, match="digest"):
        write_android_assets(bundle, tmp_path / "assets")


def test_name_that_gradle_would_leave_out_is_refused(tmp_path):
    bundle = make_bundle(tmp_path / "sst")
    with pytest.raises(UsageError, match="can't name a task"):
        write_android_assets(bundle, tmp_path / "assets", "_sst")


def test_manifest_is_not_rewritten(tmp_path):
    bundle = make_bundle(tmp_path / "sst", note="kept")
    write_android_assets(bundle, tmp_path / "assets")
    copied = (tmp_path / "assets" / "bundles" / "sst" / "manifest.json").read_bytes()
    assert copied == (bundle / "manifest.json").read_bytes()
    assert json.loads(copied)["note"] == "kept"
