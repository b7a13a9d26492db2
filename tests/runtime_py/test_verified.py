"""A bundle that was checked before is not hashed again, unless anything about its files changed."""

import json
import os
import subprocess
import time

import pytest

from spartanc.errors import UsageError
from spartanc.runtime_py import bundle as bundle_module
from spartanc.runtime_py.build import COMMAND, build_runtime
from spartanc.runtime_py.bundle import open_bundle
from spartanc.runtime_py.verified import FOLDER, SETTLED_NS, Record
from support.artifacts import write_bundle
from support.bundles import make_bundle


@pytest.fixture
def cache(tmp_path, monkeypatch):
    runtime = build_runtime("host")  # in the cache that this user has
    monkeypatch.setenv("SPARTANC_CACHE", str(tmp_path / "cache"))
    return runtime, tmp_path / "cache" / FOLDER


@pytest.fixture
def hashed(monkeypatch):
    """Names of the files that were hashed since."""
    names = []

    def watched(path):
        names.append(path.name)
        return real(path)

    real = bundle_module.file_digest
    monkeypatch.setattr(bundle_module, "file_digest", watched)
    return names


def settle():
    time.sleep(SETTLED_NS / 1e9 + 0.1)


def test_the_second_opening_hashes_nothing_and_a_change_is_seen(tmp_path, cache, hashed):
    bundle = write_bundle(tmp_path / "bundle")
    settle()
    open_bundle(bundle)
    assert sorted(hashed) == ["model.pte", "spartan", "tokenizer.json"]
    hashed.clear()
    open_bundle(bundle)
    assert hashed == []
    open_bundle(bundle, recheck=True)
    assert "model.pte" in hashed

    # Same size, same mtime: the ctime tells.
    file = bundle / "model.pte"
    before = file.stat()
    data = bytearray(file.read_bytes())
    data[5] ^= 1
    file.write_bytes(data)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file.stat().st_mtime_ns == before.st_mtime_ns
    with pytest.raises(UsageError, match=r"model\.pte"):
        open_bundle(bundle)


def test_another_file_in_its_place_is_hashed(tmp_path, cache, hashed):
    bundle = write_bundle(tmp_path / "bundle")
    settle()
    open_bundle(bundle)
    data = (bundle / "model.pte").read_bytes()
    (tmp_path / "other").write_bytes(data[:-1] + b"?")
    os.replace(tmp_path / "other", bundle / "model.pte")
    with pytest.raises(UsageError, match=r"model\.pte"):
        open_bundle(bundle)


def test_a_file_too_many_is_seen_although_nothing_is_hashed(tmp_path, cache):
    bundle = write_bundle(tmp_path / "bundle")
    settle()
    open_bundle(bundle)
    (bundle / "runtime" / "more").write_text("?")
    with pytest.raises(UsageError, match="is not listed in"):
        open_bundle(bundle)


def test_fresh_files_are_not_recorded(tmp_path, cache, hashed):
    bundle = write_bundle(tmp_path / "bundle")
    open_bundle(bundle)
    hashed.clear()
    open_bundle(bundle)
    assert hashed


def test_records_of_others_do_not_count(tmp_path, cache):
    bundle = write_bundle(tmp_path / "bundle")
    settle()
    open_bundle(bundle)
    (record,) = cache[1].iterdir()
    names = ["manifest.json", "manifest.sha256", *json.loads((bundle / "manifest.json").read_text())["files"]]
    assert Record(bundle, names[:2]).begins()
    assert not Record(bundle, names[:2]).holds()
    assert Record(bundle, names).holds()
    record.chmod(0o666)
    assert not Record(bundle, names).begins()
    record.chmod(0o600)
    assert Record(bundle, names).holds()
    record.rename(record.with_suffix(".kept"))
    record.symlink_to(record.with_suffix(".kept"))
    assert not Record(bundle, names[:2]).begins()


def test_a_cache_that_cannot_be_written_costs_nothing_but_time(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SPARTANC_CACHE", str(tmp_path / "file"))
    bundle = write_bundle(tmp_path / "bundle")
    settle()
    open_bundle(bundle)
    open_bundle(bundle)


def test_python_and_the_native_command_share_their_records(tmp_path, tiny, cache, hashed):
    runtime, records = cache
    bundle = make_bundle(tmp_path / "bundle", tiny[0])
    settle()

    def info():
        return subprocess.run([runtime / COMMAND, "info", bundle], capture_output=True, text=True, errors="replace")

    assert info().returncode == 0
    (record,) = records.iterdir()
    assert record.stat().st_mode & 0o077 == 0
    open_bundle(bundle)
    assert hashed == []
    # And the other way round: what Python recorded of a bundle whose file then changed is no record of it any more.
    record.unlink()
    open_bundle(bundle)
    assert len(list(records.iterdir())) == 1
    assert info().returncode == 0
    data = bytearray((bundle / "model.pte").read_bytes())
    data[-1] ^= 1
    (bundle / "model.pte").write_bytes(data)
    done = info()
    assert done.returncode == 2
    assert "model.pte" in done.stderr


def test_a_bundle_is_on_the_disk_before_it_is_called_checked(tmp_path, cache, monkeypatch):
    """Else a loss of power could leave the record, and of the files their sizes and times alone."""
    bundle = write_bundle(tmp_path / "bundle")
    settle()
    synced, before = set(), []
    sync, replace = os.fsync, os.replace

    def watch_sync(descriptor):
        synced.add(os.readlink(f"/proc/self/fd/{descriptor}"))
        sync(descriptor)

    def watch_replace(old, new):
        before.append(set(synced))
        replace(old, new)

    monkeypatch.setattr(os, "fsync", watch_sync)
    monkeypatch.setattr(os, "replace", watch_replace)
    open_bundle(bundle)
    (at_the_rename,) = before
    assert {str(file) for file in bundle.rglob("*") if file.is_file()} <= at_the_rename
