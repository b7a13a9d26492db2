"""The same model gives the same bytes, and a signed bundle stays signed only while nothing changes."""

import subprocess
from pathlib import Path

import pytest

from spartanc.compiler import cli, reproducible
from spartanc.compiler.request import CompileRequest
from spartanc.compiler.sealing import require_identical
from spartanc.errors import CompileError, GateError, MissingToolError, UnsupportedModelError, UsageError
from spartanc.models.checkpoint import save_model
from spartanc.runtime_py.bundle import open_bundle
from spartanc.runtime_py.data import Columns
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


def test_the_other_process_is_asked_the_same(tmp_path, monkeypatch):
    asked = []

    def remember(words, **_options):
        asked.extend(words[words.index("compile") + 1 :])
        return subprocess.CompletedProcess(words, 0)

    monkeypatch.setattr(reproducible.subprocess, "run", remember)
    columns = Columns("a text", "pair", "label", ",")
    request = CompileRequest(
        models=(Path("-one.pt"), Path("two.pt")), target="host", out=tmp_path / "out", quantize="int8",
        lowering="portable", max_length=16, data=Path("rows.csv"), columns=columns, shared_backbone=True,
        runtime=False, sign=Path("-key"),
    )  # fmt: skip
    reproducible._compile_apart(request, tmp_path / "twin")
    with cli.compile_command.make_context("compile", asked) as context:
        given = context.params
    assert given.pop("out") == tmp_path / "twin"
    assert given.pop("no_runtime") is True
    assert [given.pop(f"{name}_column") for name in ("text", "pair", "label")] == ["a text", "pair", "label"]
    assert given.pop("label_separator") == ","
    assert given.pop("as_json") is True and given.pop("check_reproducible") is False
    assert given.pop("format_") == "executorch"
    same = ("models", "target", "quantize", "lowering", "max_length", "data", "shared_backbone", "sign")
    assert given == {name: getattr(request, name) for name in same}


@pytest.mark.parametrize(
    ("code", "stderr", "kind", "message", "hint"),
    [
        (2, "error: `a.pt` is absent\nhint: look\n", UsageError, "`a.pt` is absent", "look"),
        (2, "Usage: spartanc\n\nError: No such option: --x\n", UsageError, "No such option: --x", None),
        (3, "✓ load 1 s\nerror: not read: OSError: no\n", UnsupportedModelError, "not read: OSError: no", None),
        (5, "error: no qemu\n", MissingToolError, "no qemu", None),
        (6, "error: labels agree on 0.5\n", GateError, "labels agree on 0.5", None),
        (1, "Traceback …\nerror: old\nIndexError: list index\n", CompileError, "list index", None),
        (-9, "", CompileError, "", None),
    ],
)
def test_how_the_other_process_ended_is_how_this_one_ends(code, stderr, kind, message, hint):
    error = reproducible._as_error(code, stderr)
    assert type(error) is kind
    assert error.message == f"the first of the two compiles failed (exit {code}): {message}"
    assert error.hint == hint


def test_a_model_that_is_absent_is_wrong_use_twice_too(tmp_path):
    words = ["compile", tmp_path / "absent.pt", "--target", "host", "--out", tmp_path / "out"]
    result = spartanc(*words, "--check-reproducible", "--data", tmp_path / "rows.csv", "--label-separator", ",")
    assert result.exit_code == 2
    assert "absent.pt" in result.stderr


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
