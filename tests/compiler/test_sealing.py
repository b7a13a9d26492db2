"""The same model gives the same bytes, and a signed bundle stays signed only while nothing changes."""

import pytest

from spartanc.compiler import reproducible
from spartanc.compiler.sealing import require_identical
from spartanc.errors import GateError
from spartanc.models.checkpoint import save_model
from spartanc.runtime_py.bundle import open_bundle
from spartanc.runtime_py.signature import SIGNATURE, write_key_pair
from support.artifacts import write_bundle
from support.cli import spartanc, spartanc_json
from support.fleets import save_tasks, tiny_tasks
from support.models import tiny_model


@pytest.fixture
def key(tmp_path):
    write_key_pair(tmp_path / "key")
    return tmp_path / "key"


def test_two_compiles_of_one_model_are_byte_identical_and_signed(tmp_path, key):
    save_model(tiny_model(layers=1), tmp_path / "model.pt")
    out = tmp_path / "out"
    words = ["compile", tmp_path / "model.pt", "--target", "host", "--out", out, "--max-length", 16]
    result = spartanc_json(*words, "--quantize", "int8", "--check-reproducible", "--sign", key)
    assert result["reproducible"] is True
    assert result["files"][SIGNATURE] > 60
    bundle = open_bundle(out, require_signature=key.with_name("key.pub"))
    assert "executorch" in bundle.manifest["versions"] and "python" in bundle.manifest["versions"]
    assert bundle.manifest["backends"] == ["XnnpackBackend"]
    assert any(name.startswith("spartan::memory_lookup") for name in bundle.manifest["operators"])


def test_a_difference_is_named_and_nothing_is_written(tmp_path, monkeypatch):
    save_model(tiny_model(layers=1), tmp_path / "model.pt")
    monkeypatch.setattr(reproducible, "_compile_apart", lambda request, out: write_bundle(out))
    words = ["compile", tmp_path / "model.pt", "--target", "host", "--out", tmp_path / "out", "--max-length", 16]
    result = spartanc(*words, "--check-reproducible")
    assert result.exit_code == 6
    assert "`model.pte`" in result.stderr
    assert not (tmp_path / "out").exists()


def test_files_of_one_side_alone_are_a_difference(tmp_path):
    one, other = write_bundle(tmp_path / "one"), write_bundle(tmp_path / "other")
    require_identical(one, other)
    (other / "more").write_text("")
    with pytest.raises(GateError, match="`more`"):
        require_identical(one, other)


def test_a_key_that_is_none_ends_the_compile_before_it_starts(tmp_path):
    (tmp_path / "key").write_text("no key")
    words = ["compile", tmp_path / "absent.pt", "--target", "host", "--out", tmp_path / "out", "--sign"]
    result = spartanc(*words, tmp_path / "key")
    assert result.exit_code == 2
    assert "not a private key" in result.stderr


def test_a_signed_fleet_is_changed_only_by_who_can_sign_it_again(tmp_path, key):
    paths = save_tasks(tiny_tasks("bert"), tmp_path)
    fleet, public = tmp_path / "fleet", key.with_name("key.pub")
    words = ["compile", paths["three"], "--target", "host", "--out", fleet, "--max-length", 16, "--shared-backbone"]
    spartanc_json(*words, "--quantize", "none", "--sign", key)
    unsigned = spartanc("add-task", fleet, paths["pair"])
    assert unsigned.exit_code == 2
    assert "ends its signature" in unsigned.stderr
    spartanc_json("add-task", fleet, paths["pair"], "--sign", key, "--require-signature", public)
    assert set(open_bundle(fleet, require_signature=public).manifest["fleet"]["tasks"]) == {"three", "pair"}
    assert spartanc("remove-task", fleet, "pair").exit_code == 2
    spartanc_json("remove-task", fleet, "pair", "--sign", key)
    assert list(open_bundle(fleet, require_signature=public).manifest["fleet"]["tasks"]) == ["three"]
